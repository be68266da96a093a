package fanrec

import "fanrec/proctree"

// contain notes which container a process is in: a container has a cgroup.
func (j *joiner) contain(p *proctree.Process, cgroup uint64) {
	c := j.containers.Of(cgroup)
	p.Container, p.ContainerName = c.ID, c.Name
}
