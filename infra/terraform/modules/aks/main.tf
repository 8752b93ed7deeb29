# The cluster and its CPU pools. GPU pools are a module of their own, one call a pool.

resource "azurerm_user_assigned_identity" "cluster" {
  name                = "id-${var.name}-aks"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_role_assignment" "subnets" {
  for_each = var.subnet_ids

  scope                = each.value
  role_definition_name = "Network Contributor"
  principal_id         = azurerm_user_assigned_identity.cluster.principal_id
  principal_type       = "ServicePrincipal"
}

# Platform keys on OS disks, which hold no data.
#trivy:ignore:AZU-0067
resource "azurerm_kubernetes_cluster" "this" {
  #checkov:skip=CKV_AZURE_117:Platform keys on OS disks, which hold no data; a customer's key needs a vault before the cluster
  #checkov:skip=CKV_AZURE_170:The tier is the environment's choice: dev is Free, prod Standard, and the tests of prod hold it there
  #checkov:skip=CKV_AZURE_115:Private by default; a public one is dev's choice and needs authorized_ip_ranges (validated), prod's tests hold it private
  name                              = "aks-${var.name}"
  resource_group_name               = var.resource_group_name
  location                          = var.location
  dns_prefix                        = var.name
  kubernetes_version                = var.kubernetes_version
  sku_tier                          = var.sku_tier
  automatic_upgrade_channel         = "patch"
  node_os_upgrade_channel           = "NodeImage"
  local_account_disabled            = true
  role_based_access_control_enabled = true
  oidc_issuer_enabled               = true
  workload_identity_enabled         = true
  azure_policy_enabled              = true
  image_cleaner_enabled             = true
  image_cleaner_interval_hours      = 168
  run_command_enabled               = var.run_command_enabled
  #trivy:ignore:AZU-0065 private unless dev says otherwise, and then only for named addresses
  private_cluster_enabled = var.private_cluster_enabled
  private_dns_zone_id     = var.private_cluster_enabled ? "System" : null
  # Its public name would answer with a private address: a gift to who maps networks.
  private_cluster_public_fqdn_enabled = false
  tags                                = var.tags

  api_server_access_profile {
    virtual_network_integration_enabled = true
    subnet_id                           = var.subnet_ids.apiserver
    authorized_ip_ranges                = var.private_cluster_enabled ? null : var.authorized_ip_ranges
  }

  azure_active_directory_role_based_access_control {
    azure_rbac_enabled     = true
    tenant_id              = var.tenant_id
    admin_group_object_ids = var.admin_group_object_ids
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.cluster.id]
  }

  network_profile {
    network_plugin      = "azure"
    network_plugin_mode = "overlay"
    network_policy      = "cilium"
    network_data_plane  = "cilium"
    outbound_type       = "userAssignedNATGateway"
    load_balancer_sku   = "standard"
    pod_cidr            = var.pod_cidr
    service_cidr        = var.service_cidr
    dns_service_ip      = cidrhost(var.service_cidr, 10)
  }

  default_node_pool {
    name                         = "system"
    vm_size                      = var.system_pool.vm_size
    auto_scaling_enabled         = true
    min_count                    = var.system_pool.min_count
    max_count                    = var.system_pool.max_count
    only_critical_addons_enabled = true
    vnet_subnet_id               = var.subnet_ids.nodes
    zones                        = var.zones
    os_sku                       = "Ubuntu"
    os_disk_type                 = "Ephemeral"
    os_disk_size_gb              = 100
    max_pods                     = 60
    host_encryption_enabled      = var.host_encryption_enabled
    node_public_ip_enabled       = false
    temporary_name_for_rotation  = "systemtmp"
    tags                         = var.tags

    upgrade_settings {
      max_surge = "33%"
    }
  }

  # Node auto-provisioning and the pools' autoscaler exclude each other. 5.0 requires that one is named.
  node_provisioning_profile {
    mode = "Manual"
  }

  # A node goes when its last pod has been gone for five minutes. That is longer than Ray leaves a worker idle, so that a
  # pod that comes back (an upgrade) finds its node, and shorter than Serve keeps a last sampler: docs/scaling.md.
  auto_scaler_profile {
    balance_similar_node_groups   = true
    expander                      = "least-waste"
    scale_down_unneeded           = "5m"
    scale_down_delay_after_add    = "5m"
    skip_nodes_with_local_storage = false
  }

  key_vault_secrets_provider {
    secret_rotation_enabled  = true
    secret_rotation_interval = "2m"
  }

  oms_agent {
    log_analytics_workspace_id      = var.log_analytics_workspace_id
    msi_auth_for_monitoring_enabled = true
  }

  dynamic "monitor_metrics" {
    for_each = var.managed_prometheus ? [1] : []
    content {
      labels_allowed = "namespaces=[kubernetes.io/metadata.name],pods=[app.kubernetes.io/name,ray.io/group]"
    }
  }

  dynamic "web_app_routing" {
    for_each = var.ingress == null ? [] : [var.ingress]
    content {
      dns_zone_ids             = []
      default_nginx_controller = web_app_routing.value
    }
  }

  maintenance_window_auto_upgrade {
    frequency   = "Weekly"
    interval    = 1
    day_of_week = var.maintenance.day
    start_time  = var.maintenance.start_time
    duration    = var.maintenance.duration
    utc_offset  = "+00:00"
  }

  maintenance_window_node_os {
    frequency   = "Weekly"
    interval    = 1
    day_of_week = var.maintenance.day
    start_time  = var.maintenance.start_time
    duration    = var.maintenance.duration
    utc_offset  = "+00:00"
  }

  lifecycle {
    # The autoscaler's business.
    ignore_changes = [default_node_pool[0].node_count]
  }

  depends_on = [azurerm_role_assignment.subnets]
}

resource "azurerm_kubernetes_cluster_node_pool" "cpu" {
  name                        = "cpu"
  kubernetes_cluster_id       = azurerm_kubernetes_cluster.this.id
  mode                        = "User"
  vm_size                     = var.cpu_pool.vm_size
  auto_scaling_enabled        = true
  min_count                   = var.cpu_pool.min_count
  max_count                   = var.cpu_pool.max_count
  vnet_subnet_id              = var.subnet_ids.nodes
  zones                       = var.zones
  os_sku                      = "Ubuntu"
  os_disk_type                = "Ephemeral"
  os_disk_size_gb             = 128
  max_pods                    = 60
  host_encryption_enabled     = var.host_encryption_enabled
  node_public_ip_enabled      = false
  node_labels                 = { "controlnet.io/pool" = "cpu" }
  temporary_name_for_rotation = "cputmp"
  tags                        = var.tags

  upgrade_settings {
    max_surge                = "33%"
    drain_timeout_in_minutes = 30 # the longest job is ten
  }

  lifecycle {
    ignore_changes = [node_count]
  }
}

resource "azurerm_monitor_diagnostic_setting" "control_plane" {
  name                           = "control-plane"
  target_resource_id             = azurerm_kubernetes_cluster.this.id
  log_analytics_workspace_id     = var.log_analytics_workspace_id
  log_analytics_destination_type = "Dedicated"

  # kube-audit with every read would cost more than the nodes; this one has what changes something.
  dynamic "enabled_log" {
    for_each = toset(["kube-audit-admin", "guard", "kube-apiserver", "cluster-autoscaler"])
    content {
      category = enabled_log.value
    }
  }
}
