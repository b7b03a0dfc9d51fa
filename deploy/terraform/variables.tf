variable "project_id" {
  type        = string
  description = "Id of the Google Cloud project, which exists and has a billing account."

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "The project_id '${var.project_id}' is no id of a project: 6 to 30 lower-case letters, digits and hyphens, as 'gcloud projects list' shows it."
  }
}

variable "region" {
  type        = string
  description = "Region of everything, such as europe-west1."
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "The region '${var.region}' is no region: give one such as europe-west1, without a zone's letter."
  }
}

variable "zones" {
  type        = list(string)
  description = "Zones of the nodes. Empty: those that GKE chooses. A home's disk stays in its zone."
  default     = []

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, "${var.region}-")])
    error_message = "The zones ${jsonencode(var.zones)} are not all in the region '${var.region}': give zones such as ${var.region}-b."
  }
}

variable "name" {
  type        = string
  description = "Name of the cluster, and prefix of all other names."
  default     = "caesarion"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "The name '${var.name}' does not fit: 2 to 20 lower-case letters, digits and hyphens, for a service account's name has 30 at most."
  }
}

variable "labels" {
  type        = map(string)
  description = "Further labels of everything that has labels."
  default     = {}
}

variable "host_name" {
  type        = string
  description = "The hub's host name, such as caesarion.example.org. Each user gets a name below it."

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.host_name))
    error_message = "The host_name '${var.host_name}' is no host name: give one such as caesarion.example.org, without https:// and without a wildcard."
  }
}

variable "namespace" {
  type        = string
  description = "Kubernetes namespace of the chart's release. Users' pods get NAMESPACE-users."
  default     = "caesarion"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,55}[a-z0-9])?$", var.namespace))
    error_message = "The namespace '${var.namespace}' does not fit: at most 57 lower-case letters, digits and hyphens."
  }
}

variable "administrators" {
  type        = list(string)
  description = "Who may log in to the machines, and so reach the cluster: user:ada@example.org, group:..., serviceAccount:..."

  validation {
    condition     = length(var.administrators) > 0 && alltrue([for who in var.administrators : can(regex("^(user|group|serviceAccount):[^@ ]+@[^@ ]+$", who))])
    error_message = "The administrators ${jsonencode(var.administrators)} must be one or more of user:NAME@DOMAIN, group:NAME@DOMAIN or serviceAccount:NAME@DOMAIN."
  }
}

variable "ranges" {
  type = object({
    nodes         = optional(string, "10.0.0.0/20")
    pods          = optional(string, "10.4.0.0/14")
    services      = optional(string, "10.8.0.0/20")
    control_plane = optional(string, "172.16.0.0/28")
    database      = optional(string, "10.64.0.0/20")
  })
  description = "Address ranges in CIDR notation, which do not overlap. A node takes 256 of the pods' addresses."
  default     = {}

  validation {
    condition     = alltrue([for range in values(var.ranges) : can(cidrnetmask(range))])
    error_message = "The ranges ${jsonencode(var.ranges)} must be IPv4 ranges in CIDR notation, such as 10.0.0.0/20."
  }

  validation {
    condition     = endswith(var.ranges.control_plane, "/28")
    error_message = "The range of the control plane, '${var.ranges.control_plane}', must be a /28."
  }
}

variable "authorized_networks" {
  type        = map(string)
  description = "Ranges, by a name, from which the control plane's public address can be reached. Empty: it has none, and the way is through the bastion."
  default     = {}

  validation {
    condition     = alltrue([for range in values(var.authorized_networks) : can(cidrnetmask(range)) && !endswith(range, "/0")])
    error_message = "The authorized_networks ${jsonencode(var.authorized_networks)} must be IPv4 ranges such as 203.0.113.0/24, and not the whole internet."
  }
}

variable "release_channel" {
  type        = string
  description = "How soon GKE upgrades the cluster."
  default     = "REGULAR"

  validation {
    condition     = contains(["RAPID", "REGULAR", "STABLE", "EXTENDED"], var.release_channel)
    error_message = "The release_channel '${var.release_channel}' must be RAPID, REGULAR, STABLE or EXTENDED."
  }
}

variable "maintenance_window" {
  type = object({
    start = optional(string, "2026-01-03T01:00:00Z")
    hours = optional(number, 6)
    days  = optional(list(string), ["SA", "SU"])
  })
  description = "When GKE may upgrade: first start in UTC, length in hours, days of the week. GKE wants 48 hours in 32 days."
  default     = {}

  validation {
    condition     = can(formatdate("", var.maintenance_window.start)) && endswith(var.maintenance_window.start, "Z")
    error_message = "The start of the maintenance_window, '${var.maintenance_window.start}', must be a time in UTC such as 2026-01-03T01:00:00Z."
  }

  validation {
    condition     = alltrue([for day in var.maintenance_window.days : contains(["MO", "TU", "WE", "TH", "FR", "SA", "SU"], day)])
    error_message = "The days of the maintenance_window, ${jsonencode(var.maintenance_window.days)}, must be of MO, TU, WE, TH, FR, SA and SU."
  }

  # Four weeks have 28 of the 32 days.
  validation {
    condition     = var.maintenance_window.hours >= 4 && var.maintenance_window.hours <= 24 && var.maintenance_window.hours * length(distinct(var.maintenance_window.days)) * 4 >= 48
    error_message = "A maintenance_window of ${var.maintenance_window.hours} hours on ${length(var.maintenance_window.days)} days is refused by GKE: 4 to 24 hours, and 48 hours in 32 days; 6 hours on 2 days are enough."
  }
}

variable "pools" {
  type = object({
    core = optional(object({
      machine_type = optional(string, "e2-standard-2")
      disk_gb      = optional(number, 50)
      min_nodes    = optional(number, 1)
      max_nodes    = optional(number, 3)
    }), {})
    users = optional(object({
      machine_type = optional(string, "e2-standard-8")
      disk_gb      = optional(number, 100)
      min_nodes    = optional(number, 0)
      max_nodes    = optional(number, 10)
    }), {})
    users_spot = optional(object({
      machine_type = optional(string, "e2-standard-8")
      disk_gb      = optional(number, 100)
      min_nodes    = optional(number, 0)
      max_nodes    = optional(number, 10)
    }))
    gpu = optional(object({
      machine_type = optional(string, "n1-standard-8")
      disk_gb      = optional(number, 100)
      min_nodes    = optional(number, 0)
      max_nodes    = optional(number, 2)
      spot         = optional(bool, false)
      accelerator = optional(object({
        type  = optional(string, "nvidia-tesla-t4")
        count = optional(number, 1)
      }), {})
    }))
  })
  description = "Node pools: core for hub, proxy and gateway; users; users_spot, cheaper nodes that Google may take away; gpu. Disks in GB. The numbers of nodes are for all zones together."
  default     = {}

  validation {
    condition     = alltrue([for pool in values(var.pools) : pool.min_nodes >= 0 && pool.max_nodes >= 1 && pool.min_nodes <= pool.max_nodes if pool != null])
    error_message = "The pools have min_nodes and max_nodes ${jsonencode({ for name, pool in var.pools : name => [pool.min_nodes, pool.max_nodes] if pool != null })}: min_nodes must be 0 or more and at most max_nodes."
  }

  validation {
    condition     = var.pools.core.min_nodes >= 1
    error_message = "The pool core has min_nodes ${var.pools.core.min_nodes}: the hub needs a node at all times, so give 1 or more."
  }

  validation {
    condition     = alltrue([for pool in values(var.pools) : pool.disk_gb >= 20 if pool != null])
    error_message = "The pools have disks of ${jsonencode([for pool in values(var.pools) : pool.disk_gb if pool != null])} GB: the images need 20 GB or more."
  }
}

variable "database" {
  type = object({
    tier              = optional(string, "db-custom-1-3840")
    disk_gb           = optional(number, 10)
    high_availability = optional(bool, false)
    backups_kept      = optional(number, 14)
  })
  description = "Cloud SQL for PostgreSQL: size of the machine, disk in GB (it grows by itself), a standby in a second zone, number of daily backups."
  default     = {}

  validation {
    condition     = can(regex("^db-(custom-[0-9]+-[0-9]+|f1-micro|g1-small)$", var.database.tier))
    error_message = "The tier '${var.database.tier}' of the database is none of PostgreSQL's: db-custom-CORES-MEGABYTES, db-f1-micro or db-g1-small."
  }

  validation {
    condition     = var.database.disk_gb >= 10
    error_message = "The database's disk of ${var.database.disk_gb} GB is too small: give 10 or more."
  }

  validation {
    condition     = var.database.backups_kept >= 1 && var.database.backups_kept <= 365
    error_message = "The database keeps ${var.database.backups_kept} backups: give 1 to 365."
  }
}

variable "backups" {
  type = object({
    retention_days    = optional(number, 7)
    delete_after_days = optional(number, 90)
  })
  description = "The bucket for backups: days for which nobody can delete a copy, and days after which it is deleted."
  default     = {}

  validation {
    condition     = var.backups.retention_days >= 1 && var.backups.delete_after_days > var.backups.retention_days
    error_message = "Backups are locked for ${var.backups.retention_days} days and deleted after ${var.backups.delete_after_days}: the first must be 1 or more, the second greater."
  }
}

variable "ci" {
  type = object({
    machine_type = optional(string, "e2-standard-4")
    disk_gb      = optional(number, 100)
  })
  description = "A machine that builds images and deploys; null for none. Disk in GB."
  default     = null
}

variable "budget" {
  type = object({
    billing_account = string
    amount          = number
    currency        = optional(string, "EUR")
    emails          = optional(list(string), [])
  })
  description = "Letters at 50, 90 and 100 % of an amount for a month, in whole units of the billing account's currency; null for none."
  default     = null

  validation {
    condition     = var.budget == null ? true : can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account))
    error_message = "The billing_account '${try(var.budget.billing_account, "")}' must look like 012345-6789AB-CDEF01, as 'gcloud billing accounts list' shows it."
  }

  validation {
    condition     = var.budget == null ? true : var.budget.amount >= 1 && floor(var.budget.amount) == var.budget.amount
    error_message = "The budget's amount ${try(var.budget.amount, 0)} must be a whole number, 1 or more."
  }
}

variable "database_secret" {
  type        = string
  description = "Name of the Secret with the database's password under the key password."
  default     = "caesarion-db"
}

variable "deletion_protection" {
  type        = bool
  description = "Whether Terraform refuses to delete the cluster. The database and the backups are always protected."
  default     = true
}
