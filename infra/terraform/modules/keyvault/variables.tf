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

variable "vault_name" {
  description = "Name of the vault, unique in all of Azure, for as long as a deleted one is kept too."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.vault_name))
    error_message = "vault_name must be 3 to 24 lower-case letters, digits and hyphens."
  }
}

variable "tenant_id" {
  description = "Entra tenant that may sign in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.tenant_id))
    error_message = "tenant_id must be a lower-case GUID."
  }
}

variable "private_endpoint" {
  description = "Subnet of the private endpoint, and the private DNS zone that names it."
  type = object({
    subnet_id   = string
    dns_zone_id = string
  })
  nullable = false
}

variable "operator_ips" {
  description = "Public addresses and CIDRs that reach the vault beside the private endpoint; none: it has no public address."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for ip in var.operator_ips : can(cidrhost(strcontains(ip, "/") ? ip : "${ip}/32", 0)) && !endswith(ip, "/0")])
    error_message = "operator_ips must be addresses or CIDRs, and none of them the whole internet."
  }
}

variable "reader_principal_ids" {
  description = "Who reads secrets: identity ids by a name of your choice."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "officer_principal_ids" {
  description = "Who writes secrets: people's groups, by a name of your choice."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "log_analytics_workspace_id" {
  description = "Where it is written who read what."
  type        = string
  nullable    = false
}
