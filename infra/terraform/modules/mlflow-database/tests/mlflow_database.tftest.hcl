mock_provider "azurerm" {}

variables {
  name                       = "controlnet-test"
  resource_group_name        = "rg-controlnet-test"
  location                   = "westeurope"
  server_name                = "psql-cntest7f3"
  tenant_id                  = "11111111-1111-1111-1111-111111111111"
  administrators             = { platform-admins = "22222222-2222-2222-2222-222222222222" }
  subnet_id                  = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet/subnets/snet-postgres"
  dns_zone_id                = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/privateDnsZones/controlnet-test.private.postgres.database.azure.com"
  log_analytics_workspace_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/log"
}

run "the_server_is_private" {
  command = plan

  assert {
    condition     = output.private && azurerm_postgresql_flexible_server.this.delegated_subnet_id == var.subnet_id
    error_message = "The server lies in the network and has no public address."
  }
}

run "entra_signs_in" {
  command = plan

  assert {
    condition     = azurerm_postgresql_flexible_server.this.authentication[0].active_directory_auth_enabled && !azurerm_postgresql_flexible_server.this.authentication[0].password_auth_enabled
    error_message = "Without being asked, no password is accepted."
  }

  assert {
    condition     = azurerm_postgresql_flexible_server.this.administrator_password == null && azurerm_postgresql_flexible_server.this.administrator_password_wo_version == null
    error_message = "Nor does one exist."
  }
}

run "a_group_administers" {
  command = plan

  assert {
    condition     = azurerm_postgresql_flexible_server_active_directory_administrator.this["platform-admins"].principal_type == "Group"
    error_message = "Administrators are a group, not a person."
  }
}

run "a_password_is_never_in_the_state" {
  command = plan

  variables {
    password_authentication = true
    administrator_password  = "a-password-of-20-characters"
  }

  assert {
    condition     = azurerm_postgresql_flexible_server.this.administrator_password == null && azurerm_postgresql_flexible_server.this.administrator_password_wo_version == 1
    error_message = "The password goes by the write-only argument."
  }
}

run "connections_are_encrypted" {
  command = plan

  assert {
    condition     = azurerm_postgresql_flexible_server_configuration.this["require_secure_transport"].value == "on"
    error_message = "Without TLS nobody is let in."
  }
}

run "mlflow_and_jobs_have_a_database_each" {
  command = plan

  assert {
    condition     = toset(output.databases) == toset(["mlflow", "jobs"])
    error_message = "MLflow migrates its own tables and must not see ours."
  }
}

run "a_standby_takes_over" {
  command = plan

  variables {
    zone         = "1"
    standby_zone = "2"
  }

  assert {
    condition     = output.standby && azurerm_postgresql_flexible_server.this.high_availability[0].mode == "ZoneRedundant"
    error_message = "The standby is in another zone."
  }
}

run "a_standby_beside_the_server_is_refused" {
  command = plan

  variables {
    zone         = "1"
    standby_zone = "1"
  }

  expect_failures = [var.standby_zone]
}

run "a_standby_of_a_burstable_server_is_refused" {
  command = plan

  variables {
    sku_name     = "B_Standard_B2ms"
    standby_zone = "2"
  }

  expect_failures = [var.standby_zone]
}

run "a_server_without_administrators_is_refused" {
  command = plan

  variables {
    administrators = {}
  }

  expect_failures = [var.administrators]
}

run "a_short_password_is_refused" {
  command = plan

  variables {
    password_authentication = true
    administrator_password  = "postgres"
  }

  expect_failures = [var.administrator_password]
}

run "a_short_backup_is_refused" {
  command = plan

  variables {
    backup_retention_days = 1
  }

  expect_failures = [var.backup_retention_days]
}

run "a_size_of_storage_that_is_none_is_refused" {
  command = plan

  variables {
    storage_mb = 50000
  }

  expect_failures = [var.storage_mb]
}

run "what_postgres_is_not_is_refused" {
  command = plan

  variables {
    server_name      = "Psql"
    sku_name         = "Standard_D2s"
    postgres_version = "9"
    databases        = ["ml-flow"]
    zone             = "4"
  }

  expect_failures = [var.server_name, var.sku_name, var.postgres_version, var.databases, var.zone]
}
