output "id" {
  description = "Id of the account."
  value       = azurerm_storage_account.this.id
}

output "name" {
  description = "Name of the account."
  value       = azurerm_storage_account.this.name
}

output "container_ids" {
  description = "Ids of the containers, as scopes of roles."
  value       = { for name, container in azurerm_storage_container.this : name => container.id }
}

output "keyless" {
  description = "Whether no key opens the account."
  value       = !azurerm_storage_account.this.shared_access_key_enabled
}

output "private" {
  description = "Whether the account has no public address."
  value       = !azurerm_storage_account.this.public_network_access_enabled
}
