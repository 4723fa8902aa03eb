package journal

// dictionary is what an entry most likely contains, which halves what is stored of it. It is part of the stored form: another text needs
// another version.
var dictionary = []byte(`{"version":1,"claim":{"kind":"PersistentVolumeClaim","namespace":"default","name":"data-0","uid":"","apiVersion":"v1",` +
	`"resourceVersion":"1"},"class":"standard","selectedNode":"node-","migratedFrom":"kubernetes.io/","source":{"Kind":1,"Namespace":"default",` +
	`"Name":"snapshot","Group":"snapshot.storage.k8s.io","ResourceKind":"VolumeSnapshot","CrossNamespace":false},"secret":{"name":"","namespace":` +
	`"kube-system"},"request":"CihwdmMt","template":{"metadata":{"name":"pvc-","annotations":{"pv.kubernetes.io/provisioned-by":"csi.",` +
	`"volume.kubernetes.io/provisioner-deletion-secret-name":"","volume.kubernetes.io/provisioner-deletion-secret-namespace":""},` +
	`"finalizers":["external-provisioner.volume.kubernetes.io/finalizer"]},"spec":{"csi":{"driver":"csi.","volumeHandle":"","fsType":"ext4"},` +
	`"accessModes":["ReadWriteOnce"],"claimRef":{"kind":"PersistentVolumeClaim","namespace":"default","name":"data-0","uid":"","apiVersion":"v1",` +
	`"resourceVersion":"1"},"persistentVolumeReclaimPolicy":"Delete","storageClassName":"standard","mountOptions":["noatime"],` +
	`"volumeMode":"Filesystem"},"status":{}},"began":"2026-01-01T00:00:00Z"}`)
