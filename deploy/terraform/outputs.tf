locals {
  backup_account = "caesarion-backup"
  database_egress = [{
    to    = [{ ipBlock = { cidr = "${module.database.address}/32" } }]
    ports = [{ port = 5432 }]
  }]
  tolerations = {
    for name, pool in module.cluster.pools : name => [
      for key, value in pool.taints : { key = key, operator = "Equal", value = value, effect = "NoSchedule" }
    ]
  }
  # GKE adds this taint to nodes with a GPU.
  gpu_toleration = { key = "nvidia.com/gpu", operator = "Exists", effect = "NoSchedule" }
  profiles = concat(
    [{ display_name = "Standard", default = true }],
    var.pools.users_spot == null ? [] : [{
      display_name = "Spot"
      description  = "Cheaper, and may end at any time; files are kept."
      kubespawner_override = {
        node_selector = module.cluster.pools["users-spot"].labels
        tolerations   = local.tolerations["users-spot"]
      }
    }],
    var.pools.gpu == null ? [] : [{
      display_name = "GPU"
      description  = "${var.pools.gpu.accelerator.type}; needs an image with CUDA."
      kubespawner_override = {
        node_selector         = module.cluster.pools["gpu"].labels
        tolerations           = concat(local.tolerations["gpu"], [local.gpu_toleration])
        extra_resource_limits = { "nvidia.com/gpu" = "1" }
      }
    }],
  )
}

output "values" {
  description = "Values of the chart, after those of helm/examples/gke.yaml: terraform output -json values > values.json"
  value = {
    hub = {
      subdomainHost = "https://${var.host_name}"
      image         = { name = "${module.registry.prefix}/hub" }
      nodeSelector  = module.cluster.pools["core"].labels
      db = {
        type           = "postgres"
        url            = module.database.urls.hub
        passwordSecret = { name = var.database_secret, key = "password" }
      }
      networkPolicy = { egress = local.database_egress }
    }
    proxy = { chp = { nodeSelector = module.cluster.pools["core"].labels } }
    gateway = {
      nodeSelector = module.cluster.pools["core"].labels
      database     = { url = module.database.urls.gateway }
      extraEnv = {
        PGPASSWORD = { valueFrom = { secretKeyRef = { name = var.database_secret, key = "password" } } }
      }
      networkPolicy = { egress = local.database_egress }
    }
    singleuser = {
      image            = { name = "${module.registry.prefix}/singleuser" }
      namespace        = { name = "${var.namespace}-users", create = true }
      nodeSelector     = module.cluster.pools["users"].labels
      extraTolerations = local.tolerations["users"]
      storage          = { storageClass = "caesarion-homes" } # deploy/gke/homes.yaml
      profileList      = [for profile in local.profiles : profile if length(local.profiles) > 1]
    }
  }
}

output "registry" {
  description = "Prefix of the images' names: make images REGISTRY=..."
  value       = module.registry.prefix
}

output "dns_records" {
  description = "Records to add to the host name's zone."
  value       = module.https.dns_records
}

output "cluster" {
  description = "The cluster's name and location, for gcloud container clusters get-credentials."
  value       = { name = module.cluster.name, location = var.region }
}

output "bastion" {
  description = "The bastion's name and zone, for gcloud compute ssh --tunnel-through-iap."
  value       = { name = module.bastion.name, zone = module.bastion.zone }
}

output "ci" {
  description = "The CI machine's name and zone, or null."
  value       = one([for machine in module.ci : { name = machine.name, zone = machine.zone }])
}

output "database" {
  description = "The database instance's name, for gcloud sql."
  value       = module.database.name
}

output "backups" {
  description = "The bucket for backups, and the annotation of the service account that may write to it."
  value = {
    url             = module.backups.url
    service_account = local.backup_account
    annotation      = { "iam.gke.io/gcp-service-account" = module.identities.backup.email }
  }
}
