variable "subscription_id" {
  description = "Subscription that the state lies in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.subscription_id))
    error_message = "subscription_id must be a lower-case GUID."
  }
}

variable "unique" {
  description = "What makes the account's name unique in all of Azure: 3 to 8 lower-case letters and digits of your own."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]{3,8}$", var.unique))
    error_message = "unique must be 3 to 8 lower-case letters and digits."
  }
}

variable "location" {
  description = "Azure region, `westeurope`."
  type        = string
  default     = "westeurope"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "location must be the region's short name, such as westeurope."
  }
}

variable "admin_group_object_ids" {
  description = "Entra groups that may read and write the state, which is as good as administering the platform."
  type        = set(string)
  nullable    = false

  validation {
    condition = length(var.admin_group_object_ids) > 0 && alltrue([
      for id in var.admin_group_object_ids : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))
    ])
    error_message = "admin_group_object_ids must name at least one group by its GUID."
  }
}

variable "operator_ips" {
  description = "Public addresses and CIDRs (without /31 and /32, which Azure takes as single addresses) that reach the state."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.operator_ips) > 0 && alltrue([for ip in var.operator_ips : can(cidrhost(strcontains(ip, "/") ? ip : "${ip}/32", 0)) && !can(regex("/(0|31|32)$", ip))])
    error_message = "operator_ips must have at least one address or CIDR, none of them the whole internet, /31 or /32."
  }
}
