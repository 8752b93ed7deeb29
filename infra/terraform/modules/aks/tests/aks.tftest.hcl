mock_provider "azurerm" {}

variables {
  name                       = "controlnet-test"
  resource_group_name        = "rg-controlnet-test"
  location                   = "westeurope"
  tenant_id                  = "11111111-1111-1111-1111-111111111111"
  admin_group_object_ids     = ["22222222-2222-2222-2222-222222222222"]
  log_analytics_workspace_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/log"
  subnet_ids = {
    nodes     = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet/subnets/snet-nodes"
    gpu       = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet/subnets/snet-gpu"
    apiserver = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet/subnets/snet-apiserver"
  }
}

run "the_api_server_is_private" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster.this.private_cluster_enabled
    error_message = "The API server has no public address."
  }

  assert {
    condition     = !azurerm_kubernetes_cluster.this.private_cluster_public_fqdn_enabled
    error_message = "Nor a public name."
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.api_server_access_profile[0].virtual_network_integration_enabled
    error_message = "The API server lies in the network's own subnet."
  }
}

run "local_accounts_are_off" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster.this.local_account_disabled
    error_message = "A certificate of a local administrator cannot be taken back; Entra ID's sign-in can."
  }
}

run "entra_decides_who_may_what" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster.this.azure_active_directory_role_based_access_control[0].azure_rbac_enabled
    error_message = "Roles are Azure's."
  }
}

run "the_cluster_joins_machines_to_its_subnets" {
  command = plan

  assert {
    condition     = toset(keys(azurerm_role_assignment.subnets)) == toset(["nodes", "gpu", "apiserver"])
    error_message = "Without the role on a subnet, no node of a pool there starts."
  }
}

run "pods_have_identities" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster.this.oidc_issuer_enabled && azurerm_kubernetes_cluster.this.workload_identity_enabled
    error_message = "Federated credentials need the issuer and the webhook."
  }
}

run "network_policies_are_enforced" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster.this.network_profile[0].network_policy == "cilium" && azurerm_kubernetes_cluster.this.network_profile[0].network_data_plane == "cilium"
    error_message = "Without an engine, NetworkPolicies are text."
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.network_profile[0].dns_service_ip == "10.245.0.10"
    error_message = "DNS is the tenth address of services."
  }
}

run "pools_scale_and_rotate" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster.this.default_node_pool[0].auto_scaling_enabled && azurerm_kubernetes_cluster_node_pool.cpu.auto_scaling_enabled
    error_message = "Pools scale by themselves."
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.default_node_pool[0].temporary_name_for_rotation == "systemtmp" && azurerm_kubernetes_cluster_node_pool.cpu.temporary_name_for_rotation == "cputmp"
    error_message = "A new machine size rotates a pool instead of replacing the cluster."
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.node_provisioning_profile[0].mode == "Manual"
    error_message = "Node auto-provisioning and the autoscaler exclude each other."
  }
}

run "workloads_stay_off_system_nodes" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster.this.default_node_pool[0].only_critical_addons_enabled
    error_message = "A busy tenant must not starve DNS."
  }

  assert {
    condition     = azurerm_kubernetes_cluster_node_pool.cpu.node_labels["controlnet.io/pool"] == "cpu"
    error_message = "CPU work finds its pool by this label."
  }
}

run "the_control_plane_is_logged" {
  command = plan

  assert {
    condition     = contains([for log in azurerm_monitor_diagnostic_setting.control_plane.enabled_log : log.category], "kube-audit-admin")
    error_message = "Who changed what is kept."
  }
}

run "prometheus_may_be_somebody_elses" {
  command = plan

  variables {
    managed_prometheus = false
  }

  assert {
    condition     = length(azurerm_kubernetes_cluster.this.monitor_metrics) == 0
    error_message = "Two scrapers cost twice."
  }
}

run "an_ingress_is_inside_where_asked" {
  command = plan

  variables {
    ingress = "Internal"
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.web_app_routing[0].default_nginx_controller == "Internal"
    error_message = "The ingress has an address of the network."
  }
}

run "no_ingress_unless_asked" {
  command = plan

  assert {
    condition     = length(azurerm_kubernetes_cluster.this.web_app_routing) == 0
    error_message = "Nothing listens that nobody asked for."
  }
}

run "an_ingress_elsewhere_is_refused" {
  command = plan

  variables {
    ingress = "Everywhere"
  }

  expect_failures = [var.ingress]
}

run "a_public_api_server_for_named_addresses" {
  command = plan

  variables {
    private_cluster_enabled = false
    authorized_ip_ranges    = ["203.0.113.7/32"]
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.api_server_access_profile[0].authorized_ip_ranges == toset(["203.0.113.7/32"])
    error_message = "Only who is named comes in."
  }
}

run "a_public_api_server_for_everyone_is_refused" {
  command = plan

  variables {
    private_cluster_enabled = false
  }

  expect_failures = [var.authorized_ip_ranges]
}

run "the_whole_internet_is_refused" {
  command = plan

  variables {
    private_cluster_enabled = false
    authorized_ip_ranges    = ["0.0.0.0/0"]
  }

  expect_failures = [var.authorized_ip_ranges]
}

run "a_cluster_without_administrators_is_refused" {
  command = plan

  variables {
    admin_group_object_ids = []
  }

  expect_failures = [var.admin_group_object_ids]
}

run "a_patch_version_is_refused" {
  command = plan

  variables {
    kubernetes_version = "1.34.1"
  }

  expect_failures = [var.kubernetes_version]
}

run "bounds_that_cross_are_refused" {
  command = plan

  variables {
    system_pool = { min_count = 3, max_count = 2 }
    cpu_pool    = { min_count = 3, max_count = 2 }
  }

  expect_failures = [var.system_pool, var.cpu_pool]
}

run "a_window_too_short_is_refused" {
  command = plan

  variables {
    maintenance = { duration = 1 }
  }

  expect_failures = [var.maintenance]
}

run "what_the_cluster_is_not_is_refused" {
  command = plan

  variables {
    sku_tier     = "Gold"
    zones        = ["4"]
    pod_cidr     = "pods"
    service_cidr = "10.0.0.0/30"
  }

  expect_failures = [var.sku_tier, var.zones, var.pod_cidr, var.service_cidr]
}
