# Artifacts and models. The account has keys, as every account has; none of them opens it.

# It is logged, by the diagnostic setting below; the check looks for the properties of queues.
#trivy:ignore:AZU-0057
resource "azurerm_storage_account" "this" {
  #checkov:skip=CKV_AZURE_36:No service of Azure has business with artifacts; what has an identity comes by the private endpoint
  #checkov:skip=CKV_AZURE_33:There are no queues in this account, and without keys the provider cannot set their logging
  #checkov:skip=CKV_AZURE_206:The redundancy is the environment's choice: dev is LRS, prod ZRS, the default
  #checkov:skip=CKV2_AZURE_1:Platform keys: artifacts are re-creatable and expire; a customer's key is one more thing to lose them by
  name                = var.account_name
  resource_group_name = var.resource_group_name
  location            = var.location
  account_kind        = "StorageV2"
  account_tier        = "Standard"
  #trivy:ignore:AZU-0058 zones by default: artifacts expire within days, another region is not worth twice the money
  account_replication_type          = var.replication_type
  min_tls_version                   = "TLS1_2"
  https_traffic_only_enabled        = true
  shared_access_key_enabled         = false
  default_to_oauth_authentication   = true
  local_user_enabled                = false
  public_network_access_enabled     = false
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  infrastructure_encryption_enabled = true
  allowed_copy_scope                = "PrivateLink"
  tags                              = var.tags

  #trivy:ignore:AZU-0010 as above: nobody of Azure's
  network_rules {
    default_action = "Deny"
    bypass         = ["None"]
  }

  blob_properties {
    # Artifacts are written once, under their digest; an older version would only be one that was tampered with.
    versioning_enabled  = true
    change_feed_enabled = false

    delete_retention_policy {
      days = var.deleted_days
    }

    container_delete_retention_policy {
      days = var.deleted_days
    }
  }
}

# By Azure's management, not by the account's own address: no network path from Terraform is needed.
resource "azurerm_storage_container" "this" {
  #checkov:skip=CKV2_AZURE_21:Reads are logged, by the diagnostic setting below; the check looks for another resource
  for_each = var.containers

  name                  = each.value
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}

resource "azurerm_storage_management_policy" "this" {
  storage_account_id = azurerm_storage_account.this.id

  # The platform deletes what has expired; a version it leaves behind would be kept, and paid for, for ever.
  rule {
    name    = "old-versions"
    enabled = true

    filters {
      blob_types = ["blockBlob"]
    }

    actions {
      version {
        delete_after_days_since_creation = var.deleted_days
      }
    }
  }
}

resource "azurerm_private_endpoint" "blob" {
  name                = "pe-${var.name}-blob"
  resource_group_name = var.resource_group_name
  location            = var.location
  subnet_id           = var.private_endpoint.subnet_id
  tags                = var.tags

  private_service_connection {
    name                           = "blob"
    private_connection_resource_id = azurerm_storage_account.this.id
    subresource_names              = ["blob"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [var.private_endpoint.dns_zone_id]
  }
}

resource "azurerm_monitor_diagnostic_setting" "blob" {
  name                       = "audit"
  target_resource_id         = "${azurerm_storage_account.this.id}/blobServices/default"
  log_analytics_workspace_id = var.log_analytics_workspace_id

  dynamic "enabled_log" {
    for_each = toset(["StorageRead", "StorageWrite", "StorageDelete"])
    content {
      category = enabled_log.value
    }
  }
}
