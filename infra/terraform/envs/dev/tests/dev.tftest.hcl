mock_provider "azurerm" {
  source = "../../tests/mocks"
}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
  tenant_id       = "11111111-1111-1111-1111-111111111111"
  unique          = "7f3"
  admin_groups    = { platform-admins = "22222222-2222-2222-2222-222222222222" }
  contact_emails  = ["platform@example.com"]
  operator_ips    = ["203.0.113.7/32"]
  budget          = { nodes = 800, rest = 300, start_date = "2026-01-01" }
}

run "dev_is_made_whole" {
  command = apply

  assert {
    condition     = output.helm_values.global.registry == "crtest7f3.azurecr.io" && output.helm_values.global.azure.redisHost == ""
    error_message = "Dev is small: Ray's heads have no Redis."
  }
}

run "dev_opens_no_data" {
  command = plan

  assert {
    condition     = output.protections.storage_keyless && output.protections.storage_private && output.protections.database_private
    error_message = "Even dev's data is private and keyless."
  }

  assert {
    condition     = output.protections.local_accounts_off && output.protections.vault_purge_protect
    error_message = "Even dev has no local accounts, and no vault that can be purged."
  }
}

run "dev_costs_nothing_at_night" {
  command = plan

  assert {
    condition     = output.protections.gpu_pools_from_zero && output.protections.gpu_pools_tainted && output.protections.control_plane_tier == "Free"
    error_message = "GPU pools start from zero and are tainted; the control plane is free."
  }
}

run "dev_can_be_torn_down" {
  command = plan

  assert {
    condition     = length(output.protections.locks) == 0
    error_message = "Dev has no locks."
  }
}

run "dev_is_for_named_addresses" {
  command = plan

  variables {
    operator_ips = []
  }

  expect_failures = [var.operator_ips]
}

run "a_subscription_that_is_no_guid_is_refused" {
  command = plan

  variables {
    subscription_id = "my subscription"
  }

  expect_failures = [var.subscription_id]
}

run "teams_that_are_nowhere_are_refused" {
  command = plan

  variables {
    tenants_file = "nowhere.yaml"
  }

  expect_failures = [var.tenants_file]
}
