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


variable "metrics" {
  description = "Who scrapes and draws: `managed` (Azure Monitor and Azure Managed Grafana) or `in-cluster` (kube-prometheus-stack, which Helm installs)."
  type        = string
  default     = "managed"
  nullable    = false

  validation {
    condition     = contains(["managed", "in-cluster"], var.metrics)
    error_message = "metrics must be managed or in-cluster."
  }
}

variable "retention_in_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.retention_in_days >= 30 && var.retention_in_days <= 730
    error_message = "retention_in_days must be 30 to 730."
  }
}

variable "daily_quota_gb" {
  description = "GB of logs a day, after which the rest of the day is not kept: a loop that logs must not cost a fortune. -1 is no bound."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.daily_quota_gb == -1 || var.daily_quota_gb > 0
    error_message = "daily_quota_gb must be -1 or above 0."
  }
}

variable "contact_emails" {
  description = "Who is told of alerts."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.contact_emails) > 0 && alltrue([for address in var.contact_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "contact_emails must have at least one address: an alert that tells nobody is none."
  }
}

variable "grafana_admin_object_ids" {
  description = "Entra groups that administer Grafana."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "grafana_public" {
  description = "Whether Grafana's page is reached from outside the network, by whom Entra ID lets in."
  type        = bool
  default     = true
  nullable    = false
}
