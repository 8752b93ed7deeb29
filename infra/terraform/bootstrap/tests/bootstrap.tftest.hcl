mock_provider "azurerm" {}

variables {
  subscription_id        = "00000000-0000-0000-0000-000000000000"
  unique                 = "7f3"
  admin_group_object_ids = ["22222222-2222-2222-2222-222222222222"]
  operator_ips           = ["203.0.113.7"]
}

run "no_key_opens_the_state" {
  command = plan

  assert {
    condition     = !azurerm_storage_account.state.shared_access_key_enabled && azurerm_storage_container.state.container_access_type == "private"
    error_message = "The state holds Redis' key: only Entra ID opens it."
  }
}

run "the_state_is_for_named_addresses" {
  command = plan

  assert {
    condition     = azurerm_storage_account.state.network_rules[0].default_action == "Deny" && azurerm_storage_account.state.network_rules[0].ip_rules == toset(["203.0.113.7"])
    error_message = "The firewall names who comes in."
  }
}

run "the_state_is_not_lost" {
  command = plan

  assert {
    condition     = azurerm_storage_account.state.blob_properties[0].versioning_enabled && azurerm_management_lock.state.lock_level == "CanNotDelete"
    error_message = "Versions are kept and the account is locked."
  }
}

run "environments_are_told_where_it_is" {
  command = plan

  assert {
    condition     = output.backend == { resource_group_name = "rg-controlnet-state", storage_account_name = "sttfstate7f3" }
    error_message = "The names are those of the README."
  }
}

run "the_internet_is_no_operator" {
  command = plan

  variables {
    operator_ips = ["0.0.0.0/0"]
  }

  expect_failures = [var.operator_ips]
}

run "a_state_for_nobody_is_refused" {
  command = plan

  variables {
    admin_group_object_ids = []
  }

  expect_failures = [var.admin_group_object_ids]
}

run "a_long_name_is_refused" {
  command = plan

  variables {
    unique = "controlnet"
  }

  expect_failures = [var.unique]
}

run "a_region_with_a_space_is_refused" {
  command = plan

  variables {
    location = "West Europe"
  }

  expect_failures = [var.location]
}

run "a_subscription_that_is_no_guid_is_refused" {
  command = plan

  variables {
    subscription_id = "my subscription"
  }

  expect_failures = [var.subscription_id]
}
