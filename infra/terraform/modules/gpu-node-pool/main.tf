# One pool of GPU nodes, regular or spot, that is empty until a sampler asks.

locals {
  # Azure gives spot nodes their label and taint by itself; what is not written here would be a difference for ever.
  spot   = "kubernetes.azure.com/scalesetpriority"
  labels = merge({ "controlnet.io/pool" = "gpu", "controlnet.io/gpu" = var.gpu_model }, var.spot ? { (local.spot) = "spot" } : {})
  taints = concat(["nvidia.com/gpu=present:NoSchedule"], var.spot ? ["${local.spot}=spot:NoSchedule"] : [])
}

resource "azurerm_kubernetes_cluster_node_pool" "this" {
  name                        = var.name
  kubernetes_cluster_id       = var.kubernetes_cluster_id
  mode                        = "User"
  vm_size                     = var.vm_size
  auto_scaling_enabled        = true
  min_count                   = var.min_count
  max_count                   = var.max_count
  node_labels                 = local.labels
  node_taints                 = local.taints
  priority                    = var.spot ? "Spot" : "Regular"
  eviction_policy             = var.spot ? "Delete" : null
  spot_max_price              = var.spot ? var.spot_max_price : null
  vnet_subnet_id              = var.subnet_id
  zones                       = var.zones
  os_type                     = "Linux"
  os_sku                      = "Ubuntu"
  os_disk_type                = "Managed" # sizes differ in their temporary disk: 64 GB beside an A100, 176 beside a T4
  os_disk_size_gb             = var.os_disk_size_gb
  max_pods                    = 50
  gpu_driver                  = "Install" # AKS brings the driver; the chart `gpu` brings the device plugin
  gpu_instance                = var.gpu_instance
  host_encryption_enabled     = var.host_encryption_enabled
  node_public_ip_enabled      = false
  scale_down_mode             = "Delete"
  temporary_name_for_rotation = "${var.name}tmp"
  tags                        = var.tags

  # Spot pools refuse a surge.
  dynamic "upgrade_settings" {
    for_each = var.spot ? [] : [1]
    content {
      max_surge                = "1" # a second GPU node, not a third of a pool: quotas are small
      drain_timeout_in_minutes = 30  # the longest job is ten
    }
  }

  lifecycle {
    # The autoscaler's business.
    ignore_changes = [node_count]
  }
}
