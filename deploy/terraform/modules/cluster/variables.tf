variable "name" {
  type        = string
  description = "Name of the cluster."
}

variable "project" {
  type        = string
  description = "The project's id."
}

variable "region" {
  type        = string
  description = "The region in whose zones the control plane is."
}

variable "zones" {
  type        = list(string)
  description = "Zones of the nodes; empty for the region's default."
}

variable "network" {
  type        = string
  description = "Id of the network."
}

variable "subnetwork" {
  type        = string
  description = "Id of the nodes' subnetwork, with the secondary ranges pods and services."
}

variable "nodes_range" {
  type        = string
  description = "The subnetwork's range, from which the control plane can be reached."
}

variable "control_plane_range" {
  type        = string
  description = "A /28 for the control plane."
}

variable "authorized_networks" {
  type        = map(string)
  description = "Ranges, by a name, that reach the control plane's public address; empty: it has none."
}

variable "release_channel" {
  type        = string
  description = "How soon GKE upgrades: RAPID, REGULAR, STABLE or EXTENDED."
}

variable "maintenance_window" {
  type = object({
    start = string
    hours = number
    days  = list(string)
  })
  description = "When GKE may upgrade: a first start in UTC, its length, days of the week."
}

variable "pools" {
  type = object({
    core       = object({ machine_type = string, disk_gb = number, min_nodes = number, max_nodes = number })
    users      = object({ machine_type = string, disk_gb = number, min_nodes = number, max_nodes = number })
    users_spot = optional(object({ machine_type = string, disk_gb = number, min_nodes = number, max_nodes = number }))
    gpu = optional(object({
      machine_type = string
      disk_gb      = number
      min_nodes    = number
      max_nodes    = number
      spot         = bool
      accelerator  = object({ type = string, count = number })
    }))
  })
  description = "Node pools; the numbers of nodes are for all zones together."
}

variable "nodes_service_account" {
  type        = string
  description = "Email of the nodes' service account."
}

variable "labels" {
  type        = map(string)
  description = "Labels of the cluster and its nodes."
}

variable "deletion_protection" {
  type        = bool
  description = "Whether Terraform refuses to delete the cluster."
}
