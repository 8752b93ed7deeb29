output "log_analytics_workspace_id" {
  description = "Where logs go."
  value       = azurerm_log_analytics_workspace.this.id
}

output "logs_rule_id" {
  description = "The data collection rule by which a cluster sends its containers' logs."
  value       = azurerm_monitor_data_collection_rule.logs.id
}

output "action_group_id" {
  description = "Who is told."
  value       = azurerm_monitor_action_group.this.id
}

output "managed" {
  description = "Whether Azure scrapes."
  value       = local.managed
}

output "prometheus_rule_id" {
  description = "The data collection rule that a cluster is tied to; absent where Prometheus is the cluster's own."
  value       = one(azurerm_monitor_data_collection_rule.prometheus[*].id)
}

output "prometheus_endpoint_id" {
  description = "The data collection endpoint of the same."
  value       = one(azurerm_monitor_data_collection_endpoint.this[*].id)
}

output "grafana_url" {
  description = "Grafana's page; absent where Grafana is the cluster's own."
  value       = one(azurerm_dashboard_grafana.this[*].endpoint)
}
