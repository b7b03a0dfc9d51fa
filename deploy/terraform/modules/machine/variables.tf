variable "name" {
  type        = string
  description = "Name of the machine and its service account."
}

variable "project" {
  type        = string
  description = "The project's id."
}

variable "zone" {
  type        = string
  description = "The machine's zone."
}

variable "machine_type" {
  type        = string
  description = "Compute Engine's name of its size."
}

variable "disk_gb" {
  type        = number
  description = "Size of the disk in GB."
}

variable "subnetwork" {
  type        = string
  description = "Id of its subnetwork."
}

variable "ssh_tag" {
  type        = string
  description = "The tag with which the firewall lets SSH through."
}

variable "administrators" {
  type        = list(string)
  description = "Who may log in: user:..., group:... or serviceAccount:..."
}

variable "roles" {
  type        = list(string)
  description = "What the machine may do in the project beside writing logs and metrics."
  default     = []
}
