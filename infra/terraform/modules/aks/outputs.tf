output "id" {
  description = "Id of the cluster."
  value       = azurerm_kubernetes_cluster.this.id
}

output "name" {
  description = "Name of the cluster."
  value       = azurerm_kubernetes_cluster.this.name
}

output "oidc_issuer_url" {
  description = "Issuer of service account tokens, for federated credentials."
  value       = azurerm_kubernetes_cluster.this.oidc_issuer_url
}

output "kubelet_object_id" {
  description = "Identity that pulls images."
  value       = one(azurerm_kubernetes_cluster.this.kubelet_identity[*].object_id)
}

output "node_resource_group_id" {
  description = "Resource group that AKS keeps nodes in: most of the cost is there."
  value       = azurerm_kubernetes_cluster.this.node_resource_group_id
}

output "private" {
  description = "Whether the API server has no public address."
  value       = azurerm_kubernetes_cluster.this.private_cluster_enabled
}

output "local_accounts_off" {
  description = "Whether certificates of local administrators are refused."
  value       = azurerm_kubernetes_cluster.this.local_account_disabled
}

output "sku_tier" {
  description = "Tier of the control plane."
  value       = azurerm_kubernetes_cluster.this.sku_tier
}
