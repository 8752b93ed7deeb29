mock_provider "azurerm" {}

variables {
  name                       = "controlnet-test"
  resource_group_name        = "rg-controlnet-test"
  location                   = "westeurope"
  vault_name                 = "kv-cntest7f3"
  tenant_id                  = "11111111-1111-1111-1111-111111111111"
  log_analytics_workspace_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/log"
  private_endpoint = {
    subnet_id   = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet/subnets/snet-endpoints"
    dns_zone_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/privateDnsZones/privatelink.vaultcore.azure.net"
  }
}

run "a_deletion_is_never_final" {
  command = plan

  assert {
    condition     = azurerm_key_vault.this.purge_protection_enabled && azurerm_key_vault.this.soft_delete_retention_days == 90
    error_message = "Purge protection is on."
  }
}

run "the_vault_is_private" {
  command = plan

  assert {
    condition     = output.private && azurerm_key_vault.this.network_acls[0].default_action == "Deny"
    error_message = "The vault has no public address."
  }
}

run "roles_are_azures" {
  command = plan

  assert {
    condition     = azurerm_key_vault.this.rbac_authorization_enabled
    error_message = "Access policies let contributors give themselves secrets."
  }
}

run "who_reads_does_not_write" {
  command = plan

  variables {
    reader_principal_ids = { serving = "33333333-3333-3333-3333-333333333333" }
  }

  assert {
    condition     = azurerm_role_assignment.readers["serving"].role_definition_name == "Key Vault Secrets User" && length(azurerm_role_assignment.officers) == 0
    error_message = "A reader is no officer."
  }
}

run "reading_is_written_down" {
  command = plan

  assert {
    condition     = [for log in azurerm_monitor_diagnostic_setting.audit.enabled_log : log.category] == ["AuditEvent"]
    error_message = "The vault's audit log is kept."
  }
}

run "operators_come_in_where_named" {
  command = plan

  variables {
    operator_ips = ["203.0.113.7"]
  }

  assert {
    condition     = !output.private && azurerm_key_vault.this.network_acls[0].default_action == "Deny"
    error_message = "The firewall refuses all but those named."
  }
}

run "the_internet_is_no_operator" {
  command = plan

  variables {
    operator_ips = ["0.0.0.0/0"]
  }

  expect_failures = [var.operator_ips]
}

run "a_long_name_is_refused" {
  command = plan

  variables {
    vault_name = "kv-controlnet-production-7f3"
  }

  expect_failures = [var.vault_name]
}

run "a_tenant_that_is_no_guid_is_refused" {
  command = plan

  variables {
    tenant_id = "contoso.onmicrosoft.com"
  }

  expect_failures = [var.tenant_id]
}
