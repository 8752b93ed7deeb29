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


variable "redis_name" {
  description = "Name of the instance, unique in its region."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9](-?[a-z0-9]){2,59}$", var.redis_name))
    error_message = "redis_name must be 3 to 60 lower-case letters, digits and single hyphens."
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

variable "sku_name" {
  description = "Size. Ray's tables of a cluster are a few MB: the smallest does."
  type        = string
  default     = "Balanced_B0"
  nullable    = false

  validation {
    condition     = can(regex("^Balanced_B(0|1|3|5|10|20)$", var.sku_name))
    error_message = "sku_name must be Balanced_B0, B1, B3, B5, B10 or B20: an unclustered instance is no larger."
  }
}

variable "high_availability_enabled" {
  description = "Whether there is a replica. Without one Ray's heads lose their memory when Redis restarts."
  type        = bool
  default     = true
  nullable    = false
}
