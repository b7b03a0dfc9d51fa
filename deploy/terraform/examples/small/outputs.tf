output "values" {
  description = "Values of the chart."
  value       = module.caesarion.values
}

output "registry" {
  description = "Prefix of the images' names."
  value       = module.caesarion.registry
}

output "dns_records" {
  description = "Records to add to the host name's zone."
  value       = module.caesarion.dns_records
}

output "cluster" {
  description = "The cluster's name and location."
  value       = module.caesarion.cluster
}

output "bastion" {
  description = "The bastion's name and zone."
  value       = module.caesarion.bastion
}

output "ci" {
  description = "The CI machine's name and zone, or null."
  value       = module.caesarion.ci
}

output "database" {
  description = "The database instance's name."
  value       = module.caesarion.database
}

output "backups" {
  description = "The bucket for backups, and who may write to it."
  value       = module.caesarion.backups
}
