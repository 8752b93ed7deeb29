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

variable "account_name" {
  description = "Name of the account, unique in all of Azure."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.account_name))
    error_message = "account_name must be 3 to 24 lower-case letters and digits."
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

variable "replication_type" {
  description = "LRS is one building, ZRS three, GZRS three and another region."
  type        = string
  default     = "ZRS"
  nullable    = false

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "GZRS", "RAGRS", "RAGZRS"], var.replication_type)
    error_message = "replication_type must be LRS, ZRS, GRS, GZRS, RAGRS or RAGZRS."
  }
}

variable "containers" {
  description = "Names of the containers: artifacts, MLflow's, one a team."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for name in var.containers : can(regex("^[a-z0-9](-?[a-z0-9]){2,62}$", name)) && length(name) <= 63])
    error_message = "containers must be named with 3 to 63 lower-case letters, digits and single hyphens."
  }
}

variable "deleted_days" {
  description = "Days for which what was deleted can be had back. A retention promised to teams must count these in."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.deleted_days >= 1 && var.deleted_days <= 365
    error_message = "deleted_days must be 1 to 365."
  }
}

variable "log_analytics_workspace_id" {
  description = "Where it is written who read, wrote and deleted what."
  type        = string
  nullable    = false
}
