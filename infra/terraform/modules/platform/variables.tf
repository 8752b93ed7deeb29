variable "environment" {
  description = "Short name of the environment, `dev`: everything is named after it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,7}$", var.environment))
    error_message = "environment must be 2 to 8 lower-case letters and digits."
  }
}

variable "unique" {
  description = "What makes names of registry, vault, account and server unique in all of Azure: a few letters of your own."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]{3,7}$", var.unique))
    error_message = "unique must be 3 to 7 lower-case letters and digits."
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

variable "tenant_id" {
  description = "Entra tenant that may sign in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.tenant_id))
    error_message = "tenant_id must be a lower-case GUID."
  }
}

variable "admin_groups" {
  description = "Entra groups that run the platform: object id by display name. They administer cluster, vault, PostgreSQL and Grafana, and push images."
  type        = map(string)
  nullable    = false

  validation {
    condition = length(var.admin_groups) > 0 && alltrue([
      for id in values(var.admin_groups) : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))
    ])
    error_message = "admin_groups must have at least one group, by its GUID."
  }
}

variable "contact_emails" {
  description = "Who is told of alerts and of money."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.contact_emails) > 0
    error_message = "contact_emails must have at least one address."
  }
}

variable "private" {
  description = "Whether API server and registry have no public address. Vault, storage, PostgreSQL and Redis never have one of their own accord."
  type        = bool
  default     = true
  nullable    = false
}

variable "operator_ips" {
  description = "Public CIDRs of operators, where the platform is not private: they reach the API server and the vault."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = var.private == (length(var.operator_ips) == 0)
    error_message = "A platform that is not private needs operator_ips; a private one takes none."
  }
}

variable "operator_cidrs" {
  description = "Networks of operators and build agents, peered or by VPN: they reach private endpoints and PostgreSQL."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "address_space" {
  description = "The network's CIDR, a /16 or larger."
  type        = string
  default     = "10.64.0.0/16"
  nullable    = false
}

variable "zones" {
  description = "Availability zones of the region; none where it has none."
  type        = list(string)
  default     = ["1", "2", "3"]
  nullable    = false

  validation {
    condition     = length(setsubtract(var.zones, ["1", "2", "3"])) == 0 && length(var.zones) != 1
    error_message = "zones must be two or three of 1, 2, 3, or none."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
  default     = "1.34"
  nullable    = false
}

variable "ingress" {
  description = "Where AKS' ingress controller listens: Internal or External. Absent: none."
  type        = string
  default     = null
}

variable "available" {
  description = "Whether it must not stop: a control plane with an SLA, standbys of PostgreSQL and Redis, copies in three zones, backups in the paired region."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = !var.available || length(var.zones) > 1
    error_message = "A platform that must not stop needs a region with zones."
  }
}

variable "cpu_pool" {
  description = "Nodes of api, dispatcher, imaging, Ray heads, MLflow. Both bounds in nodes."
  type = object({
    vm_size   = optional(string)
    min_count = optional(number)
    max_count = optional(number)
  })
  default  = {}
  nullable = false
}

variable "gpu_pools" {
  description = "GPU pools by name. Regular and spot stand side by side: samplers that bear eviction ask for spot."
  type = map(object({
    vm_size      = optional(string)
    gpu_model    = optional(string)
    gpu_instance = optional(string)
    spot         = optional(bool, false)
    min_count    = optional(number, 0)
    max_count    = optional(number, 4)
    zones        = optional(set(string), [])
  }))
  nullable = false

  validation {
    condition     = anytrue([for pool in values(var.gpu_pools) : !pool.spot])
    error_message = "gpu_pools must have a regular pool: Azure may have no spot node for days."
  }
}

variable "redis" {
  description = "Whether Ray's heads keep their memory in Redis. Without it, a head that restarts starts Serve anew; jobs are claimed again either way."
  type        = bool
  default     = true
  nullable    = false
}

variable "postgres" {
  description = "Size of PostgreSQL, and the days to which it can be restored."
  type = object({
    sku_name              = optional(string)
    storage_mb            = optional(number)
    backup_retention_days = optional(number)
  })
  default  = {}
  nullable = false
}

variable "postgres_password" {
  description = "Password of PostgreSQL's own administrator, wanted once, when the server is made: openssl rand -base64 30. It is in no state; nobody needs to know it."
  type        = string
  default     = null
  sensitive   = true
}

variable "metrics" {
  description = "Who scrapes and draws: managed or in-cluster."
  type        = string
  default     = "managed"
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 90
  nullable    = false
}

variable "rules" {
  description = "Prometheus' rule groups, those of ops/prometheus/rules."
  type        = any
  default     = []
}

variable "tenants" {
  description = "Names of the teams. Each gets an identity that only its namespace can be, and a container."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    # team-<name> is a namespace (63 characters) and a container (no two hyphens in a row).
    condition     = alltrue([for name in var.tenants : can(regex("^[a-z0-9](-?[a-z0-9])*$", name)) && length(name) <= 58])
    error_message = "tenants must be named with up to 58 lower-case letters, digits and single hyphens."
  }

  validation {
    condition     = length(distinct(var.tenants)) == length(var.tenants)
    error_message = "tenants must be declared once each."
  }
}

variable "budget" {
  description = "A month's money, in the subscription's currency: for the nodes (GPUs are most of it) and for the rest; and the first of the month it counts from."
  type = object({
    nodes      = number
    rest       = number
    start_date = string
  })
  nullable = false
}

variable "locked" {
  description = "Whether what holds data can't be deleted before its lock is: by a wrong destroy, or by hand."
  type        = bool
  default     = true
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource, beside those that say what made it."
  type        = map(string)
  default     = {}
  nullable    = false
}
