mock_provider "azurerm" {}

variables {
  name                       = "controlnet-test"
  resource_group_name        = "rg-controlnet-test"
  location                   = "westeurope"
  account_name               = "stcntest7f3"
  containers                 = ["artifacts", "mlflow"]
  log_analytics_workspace_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/log"
  private_endpoint = {
    subnet_id   = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet/subnets/snet-endpoints"
    dns_zone_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/privateDnsZones/privatelink.blob.core.windows.net"
  }
}

run "no_key_opens_the_account" {
  command = plan

  assert {
    condition     = !azurerm_storage_account.this.shared_access_key_enabled && !azurerm_storage_account.this.local_user_enabled
    error_message = "Shared keys are off: they know no names and are never taken back."
  }
}

run "the_account_is_private" {
  command = plan

  assert {
    condition     = output.private && azurerm_storage_account.this.network_rules[0].default_action == "Deny"
    error_message = "The account has no public address."
  }
}

run "nothing_is_public" {
  command = plan

  assert {
    condition     = !azurerm_storage_account.this.allow_nested_items_to_be_public && alltrue([for container in azurerm_storage_container.this : container.container_access_type == "private"])
    error_message = "No blob can be read without a name."
  }
}

run "every_container_is_made" {
  command = plan

  assert {
    condition     = toset(keys(azurerm_storage_container.this)) == toset(["artifacts", "mlflow"])
    error_message = "The containers are those named."
  }
}

run "what_was_deleted_goes_in_the_end" {
  command = plan

  assert {
    condition     = azurerm_storage_management_policy.this.rule[0].actions[0].version[0].delete_after_days_since_creation == azurerm_storage_account.this.blob_properties[0].delete_retention_policy[0].days
    error_message = "A version is kept no longer than what was deleted."
  }
}

run "deletions_are_written_down" {
  command = plan

  assert {
    condition     = contains([for log in azurerm_monitor_diagnostic_setting.blob.enabled_log : log.category], "StorageDelete")
    error_message = "The audit log has deletions."
  }
}

run "a_container_with_two_hyphens_is_refused" {
  command = plan

  variables {
    containers = ["team--a"]
  }

  expect_failures = [var.containers]
}

run "an_account_name_with_hyphens_is_refused" {
  command = plan

  variables {
    account_name = "st-cntest"
  }

  expect_failures = [var.account_name]
}

run "an_unknown_redundancy_is_refused" {
  command = plan

  variables {
    replication_type = "QRS"
  }

  expect_failures = [var.replication_type]
}

run "deleting_at_once_is_refused" {
  command = plan

  variables {
    deleted_days = 0
  }

  expect_failures = [var.deleted_days]
}
