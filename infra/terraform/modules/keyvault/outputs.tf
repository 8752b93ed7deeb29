output "id" {
  description = "Id of the vault."
  value       = azurerm_key_vault.this.id
}

output "name" {
  description = "Name of the vault, as the CSI driver wants it."
  value       = azurerm_key_vault.this.name
}

output "purge_protected" {
  description = "Whether nobody can make a deletion final."
  value       = azurerm_key_vault.this.purge_protection_enabled
}

output "private" {
  description = "Whether the vault has no public address."
  value       = !azurerm_key_vault.this.public_network_access_enabled
}
