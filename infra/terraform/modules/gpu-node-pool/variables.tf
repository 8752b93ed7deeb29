variable "name" {
  description = "Name of the pool, `gpu`; AKS takes 12 lower-case letters and digits."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,8}$", var.name))
    error_message = "name must be 1 to 9 lower-case letters and digits: AKS takes 12, and the pool that stands in while it rotates adds tmp."
  }
}

variable "kubernetes_cluster_id" {
  description = "Id of the cluster."
  type        = string
  nullable    = false
}

variable "subnet_id" {
  description = "Subnet of the nodes."
  type        = string
  nullable    = false
}

variable "vm_size" {
  description = "Size of a node: one with an NVIDIA GPU. The region must have a quota for it."
  type        = string
  default     = "Standard_NC24ads_A100_v4"
  nullable    = false

  validation {
    condition     = can(regex("^Standard_N[CD]", var.vm_size))
    error_message = "vm_size must be of the NC or ND series: the others have no GPU that computes with CUDA."
  }
}

variable "gpu_model" {
  description = "What the nodes are labelled with as `controlnet.io/gpu`, such as a100."
  type        = string
  default     = "a100"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.gpu_model))
    error_message = "gpu_model must be a label's value: lower-case letters, digits and hyphens."
  }
}

variable "spot" {
  description = "Whether the nodes are spot: cheaper, and taken back within 30 seconds. Changing it makes a new pool."
  type        = bool
  default     = false
  nullable    = false
}

variable "spot_max_price" {
  description = "Most US dollars an hour for a spot node; -1 is the regular price."
  type        = number
  default     = -1
  nullable    = false

  validation {
    condition     = var.spot_max_price == -1 || var.spot_max_price > 0
    error_message = "spot_max_price must be -1 or above 0."
  }
}

variable "min_count" {
  description = "Fewest nodes. Zero costs nothing while nobody asks."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.min_count >= 0 && floor(var.min_count) == var.min_count
    error_message = "min_count must be a whole number of at least 0."
  }
}

variable "max_count" {
  description = "Most nodes."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.max_count >= max(var.min_count, 1) && var.max_count <= 1000
    error_message = "max_count must be from min_count, at least 1, to 1000."
  }
}

variable "zones" {
  description = "Availability zones that have this size of machine: often fewer than the region has."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(setsubtract(var.zones, ["1", "2", "3"])) == 0
    error_message = "zones must be of 1, 2, 3."
  }
}

variable "gpu_instance" {
  description = "MIG profile that every GPU is cut into; absent: whole GPUs."
  type        = string
  default     = null

  validation {
    condition     = var.gpu_instance == null || contains(["MIG1g", "MIG2g", "MIG3g", "MIG4g", "MIG7g"], coalesce(var.gpu_instance, "MIG1g"))
    error_message = "gpu_instance must be MIG1g, MIG2g, MIG3g, MIG4g or MIG7g."
  }
}

variable "os_disk_size_gb" {
  description = "GB of a node's disk: images of CUDA are large, bundles are kept on it."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = var.os_disk_size_gb >= 128 && var.os_disk_size_gb <= 2048
    error_message = "os_disk_size_gb must be 128 to 2048."
  }
}

variable "host_encryption_enabled" {
  description = "Whether nodes' disks are encrypted on their hosts; the subscription must have `EncryptionAtHost` registered."
  type        = bool
  default     = true
  nullable    = false
}

variable "tags" {
  description = "Tags of the pool and its nodes."
  type        = map(string)
  default     = {}
  nullable    = false
}
