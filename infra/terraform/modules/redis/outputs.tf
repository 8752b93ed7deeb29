output "id" {
  description = "Id of the instance."
  value       = azurerm_managed_redis.this.id
}

output "host" {
  description = "Host that Redis answers on, port 10000, TLS."
  value       = azurerm_managed_redis.this.hostname
}

output "private" {
  description = "Whether the instance has no public address."
  value       = azurerm_managed_redis.this.public_network_access == "Disabled"
}
