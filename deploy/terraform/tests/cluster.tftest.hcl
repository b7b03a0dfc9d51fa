# terraform test, in deploy/terraform: plans the cluster's module, creates nothing.

provider "google" {
  project = "my-project"
}

variables {
  name                  = "caesarion"
  project               = "my-project"
  region                = "europe-west1"
  zones                 = []
  network               = "a-network"
  subnetwork            = "a-subnetwork"
  nodes_range           = "10.0.0.0/20"
  control_plane_range   = "172.16.0.0/28"
  authorized_networks   = {}
  release_channel       = "REGULAR"
  nodes_service_account = "nodes@my-project.iam.gserviceaccount.com"
  labels                = {}
  deletion_protection   = true
  maintenance_window = {
    start = "2026-01-03T22:00:00Z"
    hours = 6
    days  = ["SA", "SU"]
  }
  pools = {
    core       = { machine_type = "e2-standard-2", disk_gb = 50, min_nodes = 1, max_nodes = 3 }
    users      = { machine_type = "e2-standard-8", disk_gb = 100, min_nodes = 0, max_nodes = 10 }
    users_spot = { machine_type = "e2-standard-8", disk_gb = 100, min_nodes = 0, max_nodes = 10 }
    gpu = {
      machine_type = "n1-standard-8", disk_gb = 100, min_nodes = 0, max_nodes = 2, spot = false,
      accelerator  = { type = "nvidia-tesla-t4", count = 1 }
    }
  }
}

run "the_cluster_is_private_and_enforces_policies" {
  command = plan
  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = google_container_cluster.this.location == "europe-west1"
    error_message = "The control plane is regional."
  }
  assert {
    condition     = one(google_container_cluster.this.private_cluster_config).enable_private_nodes && one(google_container_cluster.this.private_cluster_config).enable_private_endpoint
    error_message = "Nodes and control plane have private addresses only."
  }
  assert {
    condition     = google_container_cluster.this.datapath_provider == "ADVANCED_DATAPATH"
    error_message = "Dataplane V2 enforces network policies."
  }
  assert {
    condition     = one(google_container_cluster.this.workload_identity_config).workload_pool == "my-project.svc.id.goog"
    error_message = "Pods get identities of their own."
  }
  assert {
    condition     = google_container_cluster.this.enable_shielded_nodes && google_container_cluster.this.deletion_protection
    error_message = "Nodes are shielded, the cluster is protected."
  }
  assert {
    condition     = one(one(google_container_cluster.this.maintenance_policy).recurring_window).end_time == "2026-01-04T04:00:00Z"
    error_message = "The window ends after its hours, on the next day."
  }
}

run "a_public_endpoint_takes_named_ranges_only" {
  command = plan
  module {
    source = "./modules/cluster"
  }
  variables {
    authorized_networks = { office = "203.0.113.0/24" }
  }

  assert {
    condition     = !one(google_container_cluster.this.private_cluster_config).enable_private_endpoint
    error_message = "The control plane has a public address."
  }
  assert {
    condition     = toset([for block in one(google_container_cluster.this.master_authorized_networks_config).cidr_blocks : block.cidr_block]) == toset(["10.0.0.0/20", "203.0.113.0/24"])
    error_message = "Nodes and the office reach it, nobody else."
  }
}

run "pools_scale_from_zero_and_keep_other_pods_away" {
  command = plan
  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = toset(keys(google_container_node_pool.this)) == toset(["core", "users", "users-spot", "gpu"])
    error_message = "There are four pools."
  }
  assert {
    condition     = alltrue([for name in ["users", "users-spot", "gpu"] : one(google_container_node_pool.this[name].autoscaling).total_min_node_count == 0])
    error_message = "Users' pools scale from zero."
  }
  assert {
    condition     = alltrue([for name in ["users", "users-spot", "gpu"] : contains([for taint in one(google_container_node_pool.this[name].node_config).taint : "${taint.key}=${taint.value}:${taint.effect}"], "dedicated=users:NO_SCHEDULE")])
    error_message = "Only users' pods run on users' pools."
  }
  assert {
    condition     = one(google_container_node_pool.this["users-spot"].node_config).spot && contains([for taint in one(google_container_node_pool.this["users-spot"].node_config).taint : taint.key], "cloud.google.com/gke-spot")
    error_message = "Spot nodes take only pods that accept to end."
  }
  assert {
    condition     = length(one(google_container_node_pool.this["core"].node_config).taint) == 0
    error_message = "The core pool takes the cluster's own pods."
  }
  assert {
    condition     = alltrue([for pool in google_container_node_pool.this : one(one(pool.node_config).workload_metadata_config).mode == "GKE_METADATA" && one(one(pool.node_config).shielded_instance_config).enable_secure_boot && one(pool.node_config).service_account == var.nodes_service_account])
    error_message = "Every node is shielded, hides its own identity from pods, and has the account with least rights."
  }
  assert {
    condition     = one(one(google_container_node_pool.this["gpu"].node_config).guest_accelerator).type == "nvidia-tesla-t4"
    error_message = "The GPU pool has a GPU."
  }
}

run "spot_and_gpu_are_optional" {
  command = plan
  module {
    source = "./modules/cluster"
  }
  variables {
    pools = {
      core  = { machine_type = "e2-standard-2", disk_gb = 50, min_nodes = 1, max_nodes = 3 }
      users = { machine_type = "e2-standard-8", disk_gb = 100, min_nodes = 0, max_nodes = 10 }
    }
  }

  assert {
    condition     = toset(keys(google_container_node_pool.this)) == toset(["core", "users"])
    error_message = "There are two pools."
  }
}
