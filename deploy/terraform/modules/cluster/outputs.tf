output "name" {
  description = "The cluster's name."
  value       = google_container_cluster.this.name
}

output "workload_pool" {
  description = "The pool of Kubernetes' service accounts for Workload Identity."
  value       = google_container_cluster.this.workload_identity_config[0].workload_pool
}

output "pools" {
  description = "Labels and taints of each pool, by its name."
  value       = { for name, pool in local.pools : name => { labels = pool.labels, taints = pool.taints } }
}
