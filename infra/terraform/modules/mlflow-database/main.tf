# One PostgreSQL server, in the network, for MLflow and for the platform's own store.

# It is on, below; the check knows the name that single servers had.
#trivy:ignore:AZU-0021
resource "azurerm_postgresql_flexible_server" "this" {
  #checkov:skip=CKV_AZURE_136:The paired region's copy is the environment's choice (geo_redundant_backup_enabled): prod has it
  #checkov:skip=CKV2_AZURE_57:It lies in the network, in a delegated subnet; private endpoints are for servers outside
  name                          = var.server_name
  resource_group_name           = var.resource_group_name
  location                      = var.location
  version                       = var.postgres_version
  sku_name                      = var.sku_name
  storage_mb                    = var.storage_mb
  auto_grow_enabled             = true
  zone                          = var.zone
  delegated_subnet_id           = var.subnet_id
  private_dns_zone_id           = var.dns_zone_id
  public_network_access_enabled = false
  backup_retention_days         = var.backup_retention_days
  geo_redundant_backup_enabled  = var.geo_redundant_backup_enabled
  administrator_login           = var.password_authentication ? "breakglass" : null
  # Write-only: sent once, kept in no state.
  administrator_password_wo         = var.password_authentication ? var.administrator_password : null
  administrator_password_wo_version = var.password_authentication ? 1 : null
  tags                              = var.tags

  authentication {
    active_directory_auth_enabled = true
    password_auth_enabled         = var.password_authentication
    tenant_id                     = var.tenant_id
  }

  dynamic "high_availability" {
    for_each = var.standby_zone == null ? [] : [var.standby_zone]
    content {
      mode                      = "ZoneRedundant"
      standby_availability_zone = high_availability.value
    }
  }

  maintenance_window {
    day_of_week  = 0
    start_hour   = 3
    start_minute = 0
  }

  lifecycle {
    # After a failover the two zones are swapped, and that is well.
    ignore_changes = [zone, high_availability[0].standby_availability_zone]
  }
}

resource "azurerm_postgresql_flexible_server_active_directory_administrator" "this" {
  for_each = var.administrators

  server_name         = azurerm_postgresql_flexible_server.this.name
  resource_group_name = var.resource_group_name
  tenant_id           = var.tenant_id
  object_id           = each.value
  principal_name      = each.key
  principal_type      = "Group"
}

resource "azurerm_postgresql_flexible_server_database" "this" {
  for_each = var.databases

  name      = each.value
  server_id = azurerm_postgresql_flexible_server.this.id
  charset   = "UTF8"
  collation = "en_US.utf8"

  # One change at a time: a server that is busy with one refuses the next.
  depends_on = [azurerm_postgresql_flexible_server_active_directory_administrator.this]
}

# TLS is Azure's default, and written down: nobody turns it off by hand and unseen.
resource "azurerm_postgresql_flexible_server_configuration" "this" {
  for_each = {
    require_secure_transport     = "on"
    log_connections              = "on"
    "connection_throttle.enable" = "on" # who guesses passwords waits
    log_checkpoints              = "on"
  }

  name      = each.key
  server_id = azurerm_postgresql_flexible_server.this.id
  value     = each.value

  depends_on = [azurerm_postgresql_flexible_server_database.this]
}

resource "azurerm_monitor_diagnostic_setting" "log" {
  name                       = "log"
  target_resource_id         = azurerm_postgresql_flexible_server.this.id
  log_analytics_workspace_id = var.log_analytics_workspace_id

  enabled_log {
    category = "PostgreSQLLogs"
  }
}
