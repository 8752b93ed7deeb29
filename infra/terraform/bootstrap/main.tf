# Where Terraform's state lies. Made once, by hand, with a state of its own on the operator's disk: it can be imported again.

provider "azurerm" {
  subscription_id     = var.subscription_id
  storage_use_azuread = true

  features {}
}

locals {
  tags = { platform = "controlnet", managed-by = "terraform", purpose = "state" }
}

resource "azurerm_resource_group" "this" {
  name     = "rg-controlnet-state"
  location = var.location
  tags     = local.tags
}

# There is no workspace yet to log to, and a customer's key would lie in a vault that this state makes.
#trivy:ignore:AZU-0057 trivy:ignore:AZU-0060
resource "azurerm_storage_account" "state" {
  #checkov:skip=CKV_AZURE_36:No service of Azure has business with the state
  #checkov:skip=CKV_AZURE_33:There are no queues in this account
  #checkov:skip=CKV_AZURE_59:Terraform runs on desks and build agents outside any network that is there yet; the firewall names them
  #checkov:skip=CKV2_AZURE_1:Platform keys: a customer's key would lie in a vault that this state makes
  #checkov:skip=CKV2_AZURE_33:The network that a private endpoint would lie in is made by what is stored here
  name                              = "sttfstate${var.unique}"
  resource_group_name               = azurerm_resource_group.this.name
  location                          = azurerm_resource_group.this.location
  account_kind                      = "StorageV2"
  account_tier                      = "Standard"
  account_replication_type          = "GZRS"
  min_tls_version                   = "TLS1_2"
  https_traffic_only_enabled        = true
  shared_access_key_enabled         = false
  default_to_oauth_authentication   = true
  local_user_enabled                = false
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  infrastructure_encryption_enabled = true
  tags                              = local.tags

  #trivy:ignore:AZU-0010 no service of Azure has business with the state
  network_rules {
    default_action = "Deny"
    bypass         = ["None"]
    ip_rules       = var.operator_ips
  }

  blob_properties {
    # A state that was broken is put back from the version before.
    versioning_enabled = true

    delete_retention_policy {
      days = 90
    }

    container_delete_retention_policy {
      days = 90
    }
  }
}

resource "azurerm_storage_container" "state" {
  #checkov:skip=CKV2_AZURE_21:There is no workspace yet to log to
  name                  = "tfstate"
  storage_account_id    = azurerm_storage_account.state.id
  container_access_type = "private"
}

resource "azurerm_role_assignment" "admins" {
  for_each = var.admin_group_object_ids

  scope                = azurerm_storage_container.state.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = each.value
  principal_type       = "Group"
}

resource "azurerm_management_lock" "state" {
  name       = "holds-state"
  scope      = azurerm_storage_account.state.id
  lock_level = "CanNotDelete"
  notes      = "Without the state, Terraform knows nothing of what it made."
}
