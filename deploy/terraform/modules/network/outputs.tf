output "network" {
  description = "The network's id."
  value       = google_compute_network.this.id
}

output "subnetwork" {
  description = "The id of the nodes' subnetwork, whose secondary ranges are pods and services."
  value       = google_compute_subnetwork.nodes.id
}

output "ssh_tag" {
  description = "Machines with this tag accept SSH through Identity-Aware Proxy."
  value       = local.ssh_tag
}

output "database_network" {
  description = "The network's id, known once databases may have addresses in it."
  value       = google_service_networking_connection.database.network
}
