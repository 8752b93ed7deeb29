terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.81"
    }
  }
}

provider "azurerm" {
  subscription_id     = var.subscription_id
  tenant_id           = var.tenant_id
  storage_use_azuread = true

  # Registered here, because `core` lacks them; `az provider register` by hand does as well.
  resource_provider_registrations = "core"
  resource_providers_to_register = [
    "Microsoft.AlertsManagement",
    "Microsoft.Cache",
    "Microsoft.Consumption",
    "Microsoft.Dashboard",
    "Microsoft.Monitor",
  ]

  features {
    key_vault {
      # Purge protection would refuse it anyway; a destroy should not fail over what it may not do.
      purge_soft_delete_on_destroy = false
    }

    resource_group {
      # Something in there that Terraform did not make is somebody's.
      prevent_deletion_if_contains_resources = true
    }

    storage {
      # The account has no public address: Azure's management is asked instead of the account itself.
      data_plane_available = false
    }
  }
}
