output "id" {
  description = "Id of the pool."
  value       = azurerm_kubernetes_cluster_node_pool.this.id
}

output "labels" {
  description = "Labels that a sampler selects."
  value       = azurerm_kubernetes_cluster_node_pool.this.node_labels
}

output "taints" {
  description = "Taints that a sampler tolerates, `key=value:effect`."
  value       = azurerm_kubernetes_cluster_node_pool.this.node_taints
}

output "min_count" {
  description = "Fewest nodes."
  value       = azurerm_kubernetes_cluster_node_pool.this.min_count
}

output "spot" {
  description = "Whether the nodes are spot."
  value       = azurerm_kubernetes_cluster_node_pool.this.priority == "Spot"
}
