variable "name" {
  description = "Name of the platform in this environment, `controlnet-dev`; resources are named after it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, from a letter to a letter or digit."
  }
}

variable "resource_group_name" {
  description = "Resource group that holds everything."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_().-]{0,89}[A-Za-z0-9_()-]$", var.resource_group_name))
    error_message = "resource_group_name must be 1 to 90 letters, digits, and _ ( ) . -, not ending in a dot."
  }
}

variable "location" {
  description = "Azure region, `westeurope`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "location must be the region's short name, such as westeurope."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "registry_name" {
  description = "Name of the registry, unique in all of Azure."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]{5,50}$", var.registry_name))
    error_message = "registry_name must be 5 to 50 lower-case letters and digits."
  }
}

variable "private_endpoint" {
  description = "Subnet of the private endpoint, and the private DNS zone that names it."
  type = object({
    subnet_id   = string
    dns_zone_id = string
  })
  default = null

  validation {
    condition     = (var.private_endpoint != null) == (var.sku == "Premium")
    error_message = "A Premium registry is private and needs private_endpoint; no other can have one."
  }
}

variable "sku" {
  description = "Premium is private, zone-redundant and keeps what was deleted; Standard is public to whom Entra ID lets in."
  type        = string
  default     = "Premium"
  nullable    = false

  validation {
    condition     = contains(["Standard", "Premium"], var.sku)
    error_message = "sku must be Standard or Premium."
  }
}

variable "zone_redundancy_enabled" {
  description = "Whether a Premium registry is spread over zones; off where the region has none."
  type        = bool
  default     = true
  nullable    = false
}

variable "pull_principal_ids" {
  description = "Who pulls images: identity ids by a name of your choice. The cluster's kubelet must be one."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "push_principal_ids" {
  description = "Who pushes images: identity ids by a name of your choice."
  type        = map(string)
  default     = {}
  nullable    = false
}
