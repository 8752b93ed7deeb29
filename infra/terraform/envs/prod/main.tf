# Private, in three zones, with standbys and locks. A test holds each of these words.

locals {
  # The rules that the chart loads where Prometheus is the cluster's own.
  rules = "${path.module}/../../../../ops/prometheus/rules"
}

module "platform" {
  source = "../../modules/platform"

  environment       = "prod"
  unique            = var.unique
  location          = var.location
  tenant_id         = var.tenant_id
  admin_groups      = var.admin_groups
  contact_emails    = var.contact_emails
  private           = true
  operator_cidrs    = var.operator_cidrs
  available         = true
  locked            = true
  redis             = true
  metrics           = "managed"
  ingress           = "Internal"
  postgres          = { sku_name = "GP_Standard_D4ds_v5", storage_mb = 131072, backup_retention_days = 35 }
  postgres_password = var.postgres_password
  cpu_pool          = { vm_size = "Standard_D8ds_v5", min_count = 3, max_count = 12 }
  gpu_pools = {
    gpu     = { vm_size = "Standard_NC24ads_A100_v4", gpu_model = "a100", max_count = 8, zones = ["1", "2"] }
    gpuspot = { vm_size = "Standard_NC24ads_A100_v4", gpu_model = "a100", max_count = 8, zones = ["1", "2"], spot = true }
  }
  rules   = flatten([for name in fileset(local.rules, "*.yml") : yamldecode(file("${local.rules}/${name}")).groups])
  tenants = yamldecode(file(var.tenants_file)).tenants[*].name
  budget  = var.budget
}
