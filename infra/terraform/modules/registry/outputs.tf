output "id" {
  description = "Id of the registry."
  value       = azurerm_container_registry.this.id
}

output "login_server" {
  description = "Host that images are named after."
  value       = azurerm_container_registry.this.login_server
}

output "private" {
  description = "Whether the registry has no public address."
  value       = !azurerm_container_registry.this.public_network_access_enabled
}
