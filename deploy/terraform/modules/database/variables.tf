variable "name" {
  type        = string
  description = "Name of the instance. Google does not give a name again for a week."
}

variable "region" {
  type        = string
  description = "The instance's region."
}

variable "network" {
  type        = string
  description = "Id of the network in which it has an address."
}

variable "tier" {
  type        = string
  description = "Cloud SQL's name of the machine's size."
}

variable "disk_gb" {
  type        = number
  description = "Size of the disk in GB at first."
}

variable "high_availability" {
  type        = bool
  description = "Whether a second zone has a standby."
}

variable "backups_kept" {
  type        = number
  description = "Number of daily backups that are kept."
}

variable "labels" {
  type        = map(string)
  description = "Labels of the instance."
}
