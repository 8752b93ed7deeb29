output "backend" {
  description = "What `terraform init` of an environment is told: one -backend-config each."
  value = {
    resource_group_name  = azurerm_resource_group.this.name
    storage_account_name = azurerm_storage_account.state.name
  }
}
