# Small, cheap, reached from named addresses, and empty at night. What it has, prod has more of.

module "platform" {
  source = "../../modules/platform"

  environment       = "dev"
  unique            = var.unique
  location          = var.location
  tenant_id         = var.tenant_id
  admin_groups      = var.admin_groups
  contact_emails    = var.contact_emails
  private           = false
  operator_ips      = var.operator_ips
  available         = false
  locked            = false
  redis             = false
  metrics           = "in-cluster"
  postgres          = { sku_name = "B_Standard_B2ms", storage_mb = 32768, backup_retention_days = 7 }
  postgres_password = var.postgres_password
  cpu_pool          = { vm_size = "Standard_D4ds_v5", min_count = 1, max_count = 4 }
  gpu_pools = {
    gpu     = { vm_size = "Standard_NC4as_T4_v3", gpu_model = "t4", max_count = 1 }
    gpuspot = { vm_size = "Standard_NC4as_T4_v3", gpu_model = "t4", max_count = 2, spot = true }
  }
  log_retention_days = 30
  tenants            = yamldecode(file(var.tenants_file)).tenants[*].name
  budget             = var.budget
}
