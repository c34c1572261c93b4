package main

import (
	"fmt"
	"runtime"
	"sync"
)

func yields(seconds float64, perP int64) result {
	count := perP * procs()
	return grow(seconds, count, func(n int64) {
		var all sync.WaitGroup
		for i := int64(0); i < count; i++ {
			all.Add(1)
			go func(each int64) {
				for k := int64(0); k < each; k++ {
					runtime.Gosched()
				}
				all.Done()
			}(n / count)
		}
		all.Wait()
	})
}

func spawnBatch(batch int64) {
	var all sync.WaitGroup
	for i := int64(0); i < batch; i++ {
		all.Add(1)
		go func() { all.Done() }()
	}
	all.Wait()
}

func skynet(result chan int64, first, size int64) {
	if size == 1 {
		result <- first
		return
	}
	sub := make(chan int64)
	for i := int64(0); i < 10; i++ {
		go skynet(sub, first+i*(size/10), size/10)
	}
	var sum int64
	for i := 0; i < 10; i++ {
		sum += <-sub
	}
	result <- sum
}

func skynetRun(leaves int64) {
	result := make(chan int64)
	go skynet(result, 0, leaves)
	if <-result != leaves*(leaves-1)/2 {
		panic("skynet: wrong sum")
	}
}

func chainLink(left int64, done *sync.WaitGroup) {
	if left == 0 {
		done.Done()
		return
	}
	go chainLink(left-1, done)
}

func chainRun(length int64) {
	var done sync.WaitGroup
	done.Add(1)
	go chainLink(length-1, &done)
	done.Wait()
}

// repeated makes a workload of one that is always of the same size.
func repeated(size int64, run func(size int64)) func(seconds float64) result {
	return func(seconds float64) result {
		return grow(seconds, size, func(n int64) {
			for ; n > 0; n -= size {
				run(size)
			}
		})
	}
}

func addSpawn() {
	for _, k := range []int64{1, 2, 1000} {
		k := k
		add(fmt.Sprintf("yield/%d", k), func(seconds float64) result { return yields(seconds, k) })
	}
	for _, k := range []int64{1, 100, 10000} {
		add(fmt.Sprintf("spawn/%d", k), repeated(k, spawnBatch))
	}
	add("spawn/1000000", func(float64) result { return once(1000000, spawnBatch) })
	add("skynet/10000", repeated(10000, skynetRun))
	add("skynet/1000000", func(float64) result { return once(1000000, skynetRun) })
	add("chain/100000", repeated(100000, chainRun))
}
