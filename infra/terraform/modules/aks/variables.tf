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

variable "tenant_id" {
  description = "Entra tenant that may sign in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.tenant_id))
    error_message = "tenant_id must be a lower-case GUID."
  }
}

variable "admin_group_object_ids" {
  description = "Object ids of the Entra groups that administer the cluster. There is no other way in."
  type        = list(string)
  nullable    = false

  validation {
    condition = length(var.admin_group_object_ids) > 0 && alltrue([
      for id in var.admin_group_object_ids : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))
    ])
    error_message = "admin_group_object_ids must name at least one group by its GUID: local accounts are off."
  }
}

variable "kubernetes_version" {
  description = "Minor version; patches follow by themselves in the maintenance window."
  type        = string
  default     = "1.34"
  nullable    = false

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version must be a minor version such as 1.34."
  }
}

variable "sku_tier" {
  description = "Free promises nothing; Standard has an SLA; Premium has long-term support too."
  type        = string
  default     = "Standard"
  nullable    = false

  validation {
    condition     = contains(["Free", "Standard", "Premium"], var.sku_tier)
    error_message = "sku_tier must be Free, Standard or Premium."
  }
}

variable "private_cluster_enabled" {
  description = "Whether the API server has no public address. Changing it makes a new cluster."
  type        = bool
  default     = true
  nullable    = false
}

variable "authorized_ip_ranges" {
  description = "CIDRs that reach a public API server; none where it is private."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.authorized_ip_ranges : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "authorized_ip_ranges must be CIDRs, and none of them the whole internet."
  }

  validation {
    condition     = var.private_cluster_enabled == (length(var.authorized_ip_ranges) == 0)
    error_message = "A public API server needs authorized_ip_ranges; a private one takes none."
  }
}

variable "run_command_enabled" {
  description = "Whether `az aks command invoke` works: the way in where no network is peered. Entra ID guards it."
  type        = bool
  default     = false
  nullable    = false
}

variable "subnet_ids" {
  description = "Subnets of the CPU nodes, of GPU nodes and, delegated, of the API server: the cluster may join machines to each."
  type = object({
    nodes     = string
    gpu       = string
    apiserver = string
  })
  nullable = false
}

variable "zones" {
  description = "Availability zones of the CPU nodes; none where the region has none."
  type        = set(string)
  default     = ["1", "2", "3"]
  nullable    = false

  validation {
    condition     = length(setsubtract(var.zones, ["1", "2", "3"])) == 0
    error_message = "zones must be of 1, 2, 3."
  }
}

variable "system_pool" {
  description = "Nodes of Kubernetes' own pods. Both bounds in nodes."
  type = object({
    vm_size   = optional(string, "Standard_D4ds_v5")
    min_count = optional(number, 2)
    max_count = optional(number, 4)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.system_pool.min_count >= 1 && var.system_pool.max_count >= var.system_pool.min_count
    error_message = "system_pool needs at least one node, and a max_count of at least min_count."
  }
}

variable "cpu_pool" {
  description = "Nodes of api, dispatcher, imaging, Ray heads, MLflow. Both bounds in nodes."
  type = object({
    vm_size   = optional(string, "Standard_D8ds_v5")
    min_count = optional(number, 2)
    max_count = optional(number, 10)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.cpu_pool.min_count >= 0 && var.cpu_pool.max_count >= max(var.cpu_pool.min_count, 1)
    error_message = "cpu_pool needs min_count >= 0 and max_count >= min_count, at least 1."
  }
}

variable "pod_cidr" {
  description = "Addresses of pods (overlay); may be the same in clusters that do not meet."
  type        = string
  default     = "10.244.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.pod_cidr, 0))
    error_message = "pod_cidr must be a CIDR."
  }
}

variable "service_cidr" {
  description = "Addresses of services; the tenth is DNS."
  type        = string
  default     = "10.245.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.service_cidr, 10))
    error_message = "service_cidr must be a CIDR with at least 16 addresses."
  }
}

variable "host_encryption_enabled" {
  description = "Whether nodes' disks are encrypted on their hosts; the subscription must have `EncryptionAtHost` registered."
  type        = bool
  default     = true
  nullable    = false
}

variable "log_analytics_workspace_id" {
  description = "Where the control plane's and the containers' logs go."
  type        = string
  nullable    = false
}

variable "managed_prometheus" {
  description = "Whether Azure's agent scrapes the cluster; off where kube-prometheus-stack does."
  type        = bool
  default     = true
  nullable    = false
}

variable "ingress" {
  description = "Whether AKS runs an ingress controller (class `webapprouting.kubernetes.azure.com`), and where it listens: Internal or External. Absent: none."
  type        = string
  default     = null

  validation {
    condition     = var.ingress == null || contains(["Internal", "External"], coalesce(var.ingress, "Internal"))
    error_message = "ingress must be Internal or External."
  }
}

variable "maintenance" {
  description = "When AKS may upgrade by itself: a day of the week and an hour, UTC, and for how many hours."
  type = object({
    day        = optional(string, "Sunday")
    start_time = optional(string, "02:00")
    duration   = optional(number, 6)
  })
  default  = {}
  nullable = false

  validation {
    condition = (
      contains(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"], var.maintenance.day) &&
      can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", var.maintenance.start_time)) &&
      var.maintenance.duration >= 4 && var.maintenance.duration <= 24
    )
    error_message = "maintenance must be a day, a start_time such as 02:00, and a duration of 4 to 24 hours."
  }
}
