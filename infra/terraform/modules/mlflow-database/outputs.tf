output "id" {
  description = "Id of the server."
  value       = azurerm_postgresql_flexible_server.this.id
}

output "host" {
  description = "Host that the databases answer on, port 5432, TLS."
  value       = azurerm_postgresql_flexible_server.this.fqdn
}

output "databases" {
  description = "Names of the databases."
  value       = sort(keys(azurerm_postgresql_flexible_server_database.this))
}

output "private" {
  description = "Whether the server has no public address."
  value       = !azurerm_postgresql_flexible_server.this.public_network_access_enabled
}

output "standby" {
  description = "Whether a standby in another zone takes over."
  value       = length(azurerm_postgresql_flexible_server.this.high_availability) > 0
}
