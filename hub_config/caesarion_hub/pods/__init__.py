"""
Spawns users' servers in Kubernetes: one pod for each server.

Called by :mod:`caesarion_hub.spawner`, through ``configuration``. Only this package
uses KubeSpawner and the Kubernetes API; ``make up`` never imports it. Modules, from
top to bottom::

    configuration   the values as KubeSpawner's traits
    profiles        the values' profiles as KubeSpawner's profile_list
    spawner         PodSpawner: start, progress, poll, adoption after a restart
    claiming        claims a pod that waits for a user, where one is the same
    objects         creates, adopts and deletes a server's volume and pod
    pod_security    how a pod violates the Pod Security Standards
    warm            keeps pods that wait for a user
    orphan_reaper   deletes pods without a server
    diagnosis       what a pod's status and events mean for its user
    spawn_errors    the messages of starts that fail
    startup_cpu     a higher CPU limit while a server starts
    reflector       a local copy of pods and events, kept by a watch
    api             the Kubernetes client, with retries
    images          a program of its own: waits for the pre-pulled images
"""
