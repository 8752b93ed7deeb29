# One platform: every module, tied together. What an environment decides is in its own main.tf.

locals {
  name = "controlnet-${var.environment}"
  tags = merge(var.tags, { platform = "controlnet", environment = var.environment, managed-by = "terraform" })

  # The chart's names: namespace and service account of each workload. The federated subjects are made of nothing else.
  namespaces = { serving = "controlnet", mlflow = "mlflow", monitoring = "monitoring" }
  teams      = { for name in var.tenants : name => { namespace = "team-${name}", container = "team-${name}" } }

  here = {
    name                = local.name
    resource_group_name = azurerm_resource_group.this.name
    location            = azurerm_resource_group.this.location
  }
}

resource "azurerm_resource_group" "this" {
  name     = "rg-${local.name}"
  location = var.location
  tags     = local.tags
}

module "observability" {
  source = "../observability"

  name                     = local.here.name
  resource_group_name      = local.here.resource_group_name
  location                 = local.here.location
  tags                     = local.tags
  metrics                  = var.metrics
  retention_in_days        = var.log_retention_days
  contact_emails           = var.contact_emails
  grafana_admin_object_ids = values(var.admin_groups)
  rules                    = var.rules
}

module "network" {
  source = "../network"

  name                = local.here.name
  resource_group_name = local.here.resource_group_name
  location            = local.here.location
  tags                = local.tags
  address_space       = var.address_space
  operator_cidrs      = var.operator_cidrs
  nat_zone            = try(var.zones[0], null)
}

module "aks" {
  source = "../aks"

  name                       = local.here.name
  resource_group_name        = local.here.resource_group_name
  location                   = local.here.location
  tags                       = local.tags
  tenant_id                  = var.tenant_id
  admin_group_object_ids     = values(var.admin_groups)
  kubernetes_version         = var.kubernetes_version
  sku_tier                   = var.available ? "Standard" : "Free"
  private_cluster_enabled    = var.private
  authorized_ip_ranges       = var.operator_ips
  run_command_enabled        = var.private # the way in until the team's network is peered
  subnet_ids                 = { for key in ["nodes", "gpu", "apiserver"] : key => module.network.subnet_ids[key] }
  zones                      = var.zones
  system_pool                = { min_count = var.available ? 3 : 1 }
  cpu_pool                   = { for key, value in var.cpu_pool : key => value if value != null }
  ingress                    = var.ingress
  log_analytics_workspace_id = module.observability.log_analytics_workspace_id
  managed_prometheus         = module.observability.managed
}

# By this name AKS' agent for logs finds its rule.
resource "azurerm_monitor_data_collection_rule_association" "logs" {
  name                    = "ContainerInsightsExtension"
  target_resource_id      = module.aks.id
  data_collection_rule_id = module.observability.logs_rule_id
}

# The agent in the cluster asks for its rules at the endpoint, and sends by the rule. The first name is Azure's.
resource "azurerm_monitor_data_collection_rule_association" "endpoint" {
  count = module.observability.managed ? 1 : 0

  name                        = "configurationAccessEndpoint"
  target_resource_id          = module.aks.id
  data_collection_endpoint_id = module.observability.prometheus_endpoint_id
}

resource "azurerm_monitor_data_collection_rule_association" "prometheus" {
  count = module.observability.managed ? 1 : 0

  name                    = "prometheus"
  target_resource_id      = module.aks.id
  data_collection_rule_id = module.observability.prometheus_rule_id
}

module "gpu_pool" {
  source   = "../gpu-node-pool"
  for_each = var.gpu_pools

  name                  = each.key
  kubernetes_cluster_id = module.aks.id
  subnet_id             = module.network.subnet_ids["gpu"]
  vm_size               = coalesce(each.value.vm_size, "Standard_NC24ads_A100_v4")
  gpu_model             = coalesce(each.value.gpu_model, "a100")
  gpu_instance          = each.value.gpu_instance
  spot                  = each.value.spot
  min_count             = each.value.min_count
  max_count             = each.value.max_count
  zones                 = each.value.zones
  tags                  = local.tags
}

module "registry" {
  source = "../registry"

  name                    = local.here.name
  resource_group_name     = local.here.resource_group_name
  location                = local.here.location
  tags                    = local.tags
  registry_name           = "cr${var.environment}${var.unique}"
  sku                     = var.private ? "Premium" : "Standard"
  zone_redundancy_enabled = var.available
  private_endpoint = var.private ? {
    subnet_id   = module.network.subnet_ids["endpoints"]
    dns_zone_id = module.network.private_dns_zone_ids["registry"]
  } : null
  pull_principal_ids = { kubelet = module.aks.kubelet_object_id }
  push_principal_ids = var.admin_groups
}

module "keyvault" {
  source = "../keyvault"

  name                = local.here.name
  resource_group_name = local.here.resource_group_name
  location            = local.here.location
  tags                = local.tags
  vault_name          = "kv-${var.environment}-${var.unique}"
  tenant_id           = var.tenant_id
  private_endpoint = {
    subnet_id   = module.network.subnet_ids["endpoints"]
    dns_zone_id = module.network.private_dns_zone_ids["vault"]
  }
  operator_ips               = var.operator_ips
  officer_principal_ids      = var.admin_groups
  reader_principal_ids       = { serving = module.serving_identity.principal_id, mlflow = module.mlflow_identity.principal_id }
  log_analytics_workspace_id = module.observability.log_analytics_workspace_id
}

module "storage" {
  source = "../storage"

  name                = local.here.name
  resource_group_name = local.here.resource_group_name
  location            = local.here.location
  tags                = local.tags
  account_name        = "st${var.environment}${var.unique}"
  replication_type    = var.available ? "ZRS" : "LRS"
  containers          = concat(["artifacts", "mlflow"], [for team in local.teams : team.container])
  private_endpoint = {
    subnet_id   = module.network.subnet_ids["endpoints"]
    dns_zone_id = module.network.private_dns_zone_ids["blob"]
  }
  log_analytics_workspace_id = module.observability.log_analytics_workspace_id
}

module "database" {
  source = "../mlflow-database"

  name                         = local.here.name
  resource_group_name          = local.here.resource_group_name
  location                     = local.here.location
  tags                         = local.tags
  server_name                  = "psql-${var.environment}-${var.unique}"
  tenant_id                    = var.tenant_id
  administrators               = var.admin_groups
  password_authentication      = true # MLflow and the job store take one URL for life
  administrator_password       = var.postgres_password
  sku_name                     = coalesce(var.postgres.sku_name, "GP_Standard_D2ds_v5")
  storage_mb                   = coalesce(var.postgres.storage_mb, 65536)
  backup_retention_days        = coalesce(var.postgres.backup_retention_days, 14)
  zone                         = try(var.zones[0], null)
  standby_zone                 = var.available ? var.zones[1] : null
  geo_redundant_backup_enabled = var.available
  subnet_id                    = module.network.subnet_ids["postgres"]
  dns_zone_id                  = module.network.private_dns_zone_ids["postgres"]
  log_analytics_workspace_id   = module.observability.log_analytics_workspace_id
}

module "redis" {
  source = "../redis"
  count  = var.redis ? 1 : 0

  name                      = local.here.name
  resource_group_name       = local.here.resource_group_name
  location                  = local.here.location
  tags                      = local.tags
  redis_name                = "redis-${var.environment}-${var.unique}"
  high_availability_enabled = var.available
  private_endpoint = {
    subnet_id   = module.network.subnet_ids["endpoints"]
    dns_zone_id = module.network.private_dns_zone_ids["redis"]
  }
}
