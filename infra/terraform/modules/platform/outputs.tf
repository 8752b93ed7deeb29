output "helm_values" {
  description = "What the chart `platform` must know of Azure, in its own keys. No secret is among it."
  value = {
    global = {
      registry = module.registry.login_server
      azure = {
        tenantId         = var.tenant_id
        storageAccount   = module.storage.name
        storageContainer = "artifacts"
        keyVaultName     = module.keyvault.name
        postgresHost     = module.database.host
        redisHost        = try(module.redis[0].host, "")
      }
    }
    serving = {
      serviceAccount = { clientId = module.serving_identity.client_id }
    }
    mlflow = {
      serviceAccount = { clientId = module.mlflow_identity.client_id }
    }
    # By name, because Helm merges mappings and replaces lists: the declarations in `tenants` stay as they are.
    teams = {
      for name, team in local.teams : name => {
        clientId  = module.team_identity[name].client_id
        container = team.container
      }
    }
  }
}

output "subjects" {
  description = "Service accounts that are trusted, and with what: for the checks that compare them with the charts'."
  value = merge(
    { serving = module.serving_identity.subject, mlflow = module.mlflow_identity.subject },
    { for name, identity in module.team_identity : "team-${name}" => identity.subject },
  )
}

output "gpu_pools" {
  description = "Labels and taints of the GPU pools: for the checks that compare them with the charts' selectors and tolerations."
  value       = { for name, pool in module.gpu_pool : name => { labels = pool.labels, taints = pool.taints } }
}

output "protections" {
  description = "What protects the platform, as the resources have it: for tests and audits."
  value = {
    api_server_private  = module.aks.private
    local_accounts_off  = module.aks.local_accounts_off
    registry_private    = module.registry.private
    vault_private       = module.keyvault.private
    vault_purge_protect = module.keyvault.purge_protected
    storage_keyless     = module.storage.keyless
    storage_private     = module.storage.private
    database_private    = module.database.private
    database_standby    = module.database.standby
    redis_private       = alltrue(module.redis[*].private)
    control_plane_tier  = module.aks.sku_tier
    locks               = sort(keys(azurerm_management_lock.data))
    gpu_pools_from_zero = alltrue([for pool in module.gpu_pool : pool.min_count == 0])
    gpu_pools_spot      = sort([for name, pool in module.gpu_pool : name if pool.spot])
    gpu_pools_tainted   = alltrue([for pool in module.gpu_pool : contains(pool.taints, "nvidia.com/gpu=present:NoSchedule")])
    ray_memory_in_redis = length(module.redis) == 1
    metrics_are_managed = module.observability.managed
  }
}

output "names" {
  description = "Names that commands want: resource group, cluster, registry, vault, PostgreSQL, Redis."
  value = {
    resource_group = azurerm_resource_group.this.name
    cluster        = module.aks.name
    registry       = "cr${var.environment}${var.unique}"
    vault          = module.keyvault.name
    postgres       = "psql-${var.environment}-${var.unique}"
    redis          = "redis-${var.environment}-${var.unique}"
  }
}

output "network" {
  description = "CIDRs of the subnets: the charts' network policies name those of the endpoints."
  value       = module.network.subnet_prefixes
}

output "grafana_url" {
  description = "Grafana's page; absent where Grafana is the cluster's own."
  value       = module.observability.grafana_url
}
