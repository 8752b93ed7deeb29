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

variable "address_space" {
  description = "The network's CIDR, a /16 or larger: subnets are cut from its first half. Pods have addresses of their own (overlay)."
  type        = string
  default     = "10.64.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.address_space, 0)) && try(tonumber(split("/", var.address_space)[1]) <= 16, false)
    error_message = "address_space must be an IPv4 CIDR of /16 or larger: the smallest subnet would be under /28."
  }
}

variable "operator_cidrs" {
  description = "CIDRs, beside the nodes, from which private endpoints and PostgreSQL may be reached: a VPN, build agents."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.operator_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "operator_cidrs must be CIDRs, and none of them the whole internet."
  }
}

variable "nat_zone" {
  description = "Availability zone of the NAT gateway; absent where the region has none."
  type        = string
  default     = null

  validation {
    condition     = var.nat_zone == null || contains(["1", "2", "3"], coalesce(var.nat_zone, "1"))
    error_message = "nat_zone must be 1, 2 or 3."
  }
}
