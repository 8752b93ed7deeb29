output "helm_values" {
  description = "What the chart `platform` must know of Azure: `terraform output -json helm_values > azure.json`, `helm upgrade -f azure.json`."
  value       = module.platform.helm_values
}

output "names" {
  description = "Names that commands want."
  value       = module.platform.names
}

output "network" {
  description = "CIDRs of the subnets."
  value       = module.platform.network
}

output "subjects" {
  description = "Service accounts that are trusted, and with what."
  value       = module.platform.subjects
}

output "gpu_pools" {
  description = "Labels and taints of the GPU pools."
  value       = module.platform.gpu_pools
}

output "protections" {
  description = "What protects the platform, as the resources have it."
  value       = module.platform.protections
}

output "grafana_url" {
  description = "Grafana's page; absent where Grafana is the cluster's own."
  value       = module.platform.grafana_url
}
