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


variable "server_name" {
  description = "Name of the server, unique in all of Azure."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,61}[a-z0-9]$", var.server_name))
    error_message = "server_name must be 3 to 63 lower-case letters, digits and hyphens."
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

variable "administrators" {
  description = "Entra groups that administer the server: object id by display name."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(var.administrators) > 0
    error_message = "administrators must name at least one group: it makes the roles of the workloads."
  }
}

variable "password_authentication" {
  description = "Whether roles may sign in with passwords too. MLflow and the job store take one URL for their whole life; a token of Entra ID lasts an hour."
  type        = bool
  default     = false
  nullable    = false
}

variable "administrator_password" {
  description = "Password of the server's own administrator, wanted once, when a server with password_authentication is made. It is in no state; nobody needs to know it."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.administrator_password == null || length(coalesce(var.administrator_password, "-")) >= 20
    error_message = "administrator_password must have at least 20 characters: openssl rand -base64 30."
  }
}

variable "postgres_version" {
  description = "Major version of PostgreSQL."
  type        = string
  default     = "16"
  nullable    = false

  validation {
    condition     = contains(["15", "16", "17"], var.postgres_version)
    error_message = "postgres_version must be 15, 16 or 17."
  }
}

variable "sku_name" {
  description = "Size of the server. Those that start with B cannot be highly available."
  type        = string
  default     = "GP_Standard_D2ds_v5"
  nullable    = false

  validation {
    condition     = can(regex("^(B|GP|MO)_Standard_", var.sku_name))
    error_message = "sku_name must start with B_Standard_, GP_Standard_ or MO_Standard_."
  }
}

variable "storage_mb" {
  description = "MB of storage; it grows by itself."
  type        = number
  default     = 65536
  nullable    = false

  validation {
    condition     = contains([32768, 65536, 131072, 262144, 524288, 1048576, 2097152], var.storage_mb)
    error_message = "storage_mb must be 32768 (32 GiB) or a doubling of it, up to 2097152."
  }
}

variable "zone" {
  description = "Availability zone of the server; absent where the region has none."
  type        = string
  default     = null

  validation {
    condition     = var.zone == null || contains(["1", "2", "3"], coalesce(var.zone, "1"))
    error_message = "zone must be 1, 2 or 3."
  }
}

variable "standby_zone" {
  description = "Zone of a standby that takes over within two minutes; absent: none."
  type        = string
  default     = null

  validation {
    condition     = var.standby_zone == null || (contains(["1", "2", "3"], coalesce(var.standby_zone, "-")) && var.standby_zone != var.zone)
    error_message = "standby_zone must be 1, 2 or 3, and another zone than the server's."
  }

  validation {
    condition     = var.standby_zone == null || !startswith(var.sku_name, "B_")
    error_message = "A standby needs a size that starts with GP or MO."
  }
}

variable "backup_retention_days" {
  description = "Days to any second of which the server can be restored."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.backup_retention_days >= 7 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be 7 to 35."
  }
}

variable "geo_redundant_backup_enabled" {
  description = "Whether backups are kept in the paired region too. Changing it makes a new server."
  type        = bool
  default     = false
  nullable    = false
}

variable "databases" {
  description = "Databases: MLflow's and that of jobs, teams and keys."
  type        = set(string)
  default     = ["mlflow", "jobs"]
  nullable    = false

  validation {
    condition     = alltrue([for name in var.databases : can(regex("^[a-z][a-z0-9_]{0,62}$", name))])
    error_message = "databases must be named with lower-case letters, digits and underscores."
  }
}

variable "subnet_id" {
  description = "Subnet delegated to PostgreSQL."
  type        = string
  nullable    = false
}

variable "dns_zone_id" {
  description = "Private DNS zone that names the server."
  type        = string
  nullable    = false
}

variable "log_analytics_workspace_id" {
  description = "Where the server's log goes."
  type        = string
  nullable    = false
}
