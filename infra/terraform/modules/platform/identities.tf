# Who the workloads are. Each identity trusts one service account of one namespace.

module "serving_identity" {
  source = "../workload-identity"

  name                = local.here.name
  resource_group_name = local.here.resource_group_name
  location            = local.here.location
  tags                = local.tags
  namespace           = local.namespaces.serving
  service_account     = "serving"
  oidc_issuer_url     = module.aks.oidc_issuer_url
  roles = {
    artifacts = { role = "Storage Blob Data Contributor", scope = module.storage.container_ids["artifacts"] }
  }
}

module "mlflow_identity" {
  source = "../workload-identity"

  name                = local.here.name
  resource_group_name = local.here.resource_group_name
  location            = local.here.location
  tags                = local.tags
  namespace           = local.namespaces.mlflow
  service_account     = "mlflow"
  oidc_issuer_url     = module.aks.oidc_issuer_url
  roles = {
    models = { role = "Storage Blob Data Contributor", scope = module.storage.container_ids["mlflow"] }
  }
}

module "team_identity" {
  source   = "../workload-identity"
  for_each = local.teams

  name                = local.here.name
  resource_group_name = local.here.resource_group_name
  location            = local.here.location
  tags                = merge(local.tags, { team = each.key })
  namespace           = each.value.namespace
  service_account     = "tenant"
  oidc_issuer_url     = module.aks.oidc_issuer_url
  roles = {
    artifacts = { role = "Storage Blob Data Contributor", scope = module.storage.container_ids[each.value.container] }
  }
}
