# Everything that Caesarion needs of a Google Cloud project: docs/deploy.md has the commands.
#
# examples/small and examples/production call this module; each part is a module of its own.

locals {
  labels = merge({ app = "caesarion", release = var.name }, var.labels)
  zone   = length(var.zones) > 0 ? var.zones[0] : "${var.region}-b" # every region has a zone b
}

module "services" {
  source = "./modules/services"

  budget = var.budget != null
}

module "network" {
  source     = "./modules/network"
  depends_on = [module.services]

  name   = var.name
  region = var.region
  ranges = var.ranges
}

module "identities" {
  source     = "./modules/identities"
  depends_on = [module.services]

  name    = var.name
  project = var.project_id
}

module "bastion" {
  source = "./modules/machine"

  name           = "${var.name}-bastion"
  project        = var.project_id
  zone           = local.zone
  machine_type   = "e2-small"
  disk_gb        = 10
  subnetwork     = module.network.subnetwork
  ssh_tag        = module.network.ssh_tag
  administrators = var.administrators
}

# May push images, and change what is in the cluster; Kubernetes' RBAC can narrow that.
module "ci" {
  source = "./modules/machine"
  count  = var.ci == null ? 0 : 1

  name           = "${var.name}-ci"
  project        = var.project_id
  zone           = local.zone
  machine_type   = var.ci.machine_type
  disk_gb        = var.ci.disk_gb
  subnetwork     = module.network.subnetwork
  ssh_tag        = module.network.ssh_tag
  administrators = var.administrators
  roles          = ["roles/container.developer"]
}

module "cluster" {
  source = "./modules/cluster"

  name                  = var.name
  project               = var.project_id
  region                = var.region
  zones                 = var.zones
  network               = module.network.network
  subnetwork            = module.network.subnetwork
  nodes_range           = var.ranges.nodes
  control_plane_range   = var.ranges.control_plane
  authorized_networks   = var.authorized_networks
  release_channel       = var.release_channel
  maintenance_window    = var.maintenance_window
  pools                 = var.pools
  nodes_service_account = module.identities.nodes.email
  labels                = local.labels
  deletion_protection   = var.deletion_protection
}

module "registry" {
  source     = "./modules/registry"
  depends_on = [module.services]

  name    = var.name
  project = var.project_id
  region  = var.region
  labels  = local.labels
  readers = { nodes = module.identities.nodes.member }
  writers = { for machine in module.ci : "ci" => machine.member }
}

module "database" {
  source = "./modules/database"

  name              = var.name
  region            = var.region
  network           = module.network.database_network
  tier              = var.database.tier
  disk_gb           = var.database.disk_gb
  high_availability = var.database.high_availability
  backups_kept      = var.database.backups_kept
  labels            = local.labels
}

module "backups" {
  source     = "./modules/backups"
  depends_on = [module.services]

  name              = "${var.project_id}-${var.name}-backups"
  location          = var.region
  retention_days    = var.backups.retention_days
  delete_after_days = var.backups.delete_after_days
  labels            = local.labels
  writers           = { backup = module.identities.backup.member, database = module.database.member }
  readers           = { database = module.database.member } # for an import
}

# Kubernetes' service account caesarion-backup acts as Google's, without a key.
resource "google_service_account_iam_member" "backup" {
  service_account_id = module.identities.backup.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${module.cluster.workload_pool}[${var.namespace}/${local.backup_account}]"
}

module "https" {
  source     = "./modules/https"
  depends_on = [module.services]

  name      = var.name
  host_name = var.host_name
  labels    = local.labels
}

module "budget" {
  source     = "./modules/budget"
  count      = var.budget == null ? 0 : 1
  depends_on = [module.services]

  name            = var.name
  project         = var.project_id
  billing_account = var.budget.billing_account
  amount          = var.budget.amount
  currency        = var.budget.currency
  emails          = var.budget.emails
}
