mock_provider "azurerm" {}

variables {
  name                  = "gpu"
  kubernetes_cluster_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks"
  subnet_id             = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet/subnets/snet-gpu"
}

run "cpu_work_stays_off_gpu_nodes" {
  command = plan

  assert {
    condition     = tolist(azurerm_kubernetes_cluster_node_pool.this.node_taints) == tolist(["nvidia.com/gpu=present:NoSchedule"])
    error_message = "A GPU node is tainted: what asks for no GPU must not keep it up."
  }
}

run "samplers_find_gpu_nodes" {
  command = plan

  assert {
    condition     = output.labels == tomap({ "controlnet.io/pool" = "gpu", "controlnet.io/gpu" = "a100" })
    error_message = "The labels are those that the chart selects."
  }
}

run "nobody_asks_nothing_runs" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster_node_pool.this.auto_scaling_enabled && azurerm_kubernetes_cluster_node_pool.this.min_count == 0
    error_message = "The pool scales from zero."
  }
}

run "the_driver_is_installed" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster_node_pool.this.gpu_driver == "Install"
    error_message = "AKS installs the driver; the operator's would fight it."
  }
}

run "a_new_size_rotates_the_pool" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster_node_pool.this.temporary_name_for_rotation == "gputmp"
    error_message = "Without a name for the rotation, a new size is refused."
  }
}

run "regular_nodes_are_not_spot" {
  command = plan

  assert {
    condition     = azurerm_kubernetes_cluster_node_pool.this.priority == "Regular" && azurerm_kubernetes_cluster_node_pool.this.upgrade_settings[0].max_surge == "1"
    error_message = "A regular pool upgrades with one node more."
  }
}

run "spot_nodes_have_their_own_taint" {
  command = plan

  variables {
    name = "gpuspot"
    spot = true
  }

  assert {
    condition     = tolist(azurerm_kubernetes_cluster_node_pool.this.node_taints) == tolist(["nvidia.com/gpu=present:NoSchedule", "kubernetes.azure.com/scalesetpriority=spot:NoSchedule"])
    error_message = "Only who says so is put where a node may vanish."
  }

  assert {
    condition     = azurerm_kubernetes_cluster_node_pool.this.node_labels["kubernetes.azure.com/scalesetpriority"] == "spot"
    error_message = "The label that Azure sets is written down."
  }

  assert {
    condition     = azurerm_kubernetes_cluster_node_pool.this.priority == "Spot" && azurerm_kubernetes_cluster_node_pool.this.eviction_policy == "Delete" && length(azurerm_kubernetes_cluster_node_pool.this.upgrade_settings) == 0
    error_message = "Spot nodes are deleted when taken back, and pools of them know no surge."
  }
}

run "a_machine_without_a_gpu_is_refused" {
  command = plan

  variables {
    vm_size = "Standard_D8ds_v5"
  }

  expect_failures = [var.vm_size]
}

run "a_long_name_is_refused" {
  command = plan

  variables {
    name = "gpuregular1"
  }

  expect_failures = [var.name]
}

run "bounds_that_cross_are_refused" {
  command = plan

  variables {
    min_count = 5
    max_count = 4
  }

  expect_failures = [var.max_count]
}

run "a_price_of_nothing_is_refused" {
  command = plan

  variables {
    spot_max_price = 0
  }

  expect_failures = [var.spot_max_price]
}

run "an_unknown_mig_profile_is_refused" {
  command = plan

  variables {
    gpu_instance = "MIG5g"
  }

  expect_failures = [var.gpu_instance]
}

run "a_zone_that_is_none_is_refused" {
  command = plan

  variables {
    zones = ["4"]
  }

  expect_failures = [var.zones]
}

run "a_small_disk_is_refused" {
  command = plan

  variables {
    os_disk_size_gb = 64
  }

  expect_failures = [var.os_disk_size_gb]
}

run "a_label_that_is_none_is_refused" {
  command = plan

  variables {
    gpu_model = "A100 80GB"
  }

  expect_failures = [var.gpu_model]
}

run "half_a_node_is_refused" {
  command = plan

  variables {
    min_count = 0.5
  }

  expect_failures = [var.min_count]
}
