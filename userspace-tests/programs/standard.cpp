// The C++ library at work: threads, futures, shared_mutex, call_once, condition variables, file system, regex, streams.
// cpus: 4
// flags: -std=c++20
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <regex>
#include <shared_mutex>
#include <sstream>
#include <thread>
#include <unistd.h>
#include <vector>

int main()
{
    std::ios::sync_with_stdio(false);
    std::shared_mutex lock;
    std::map<int, int> map;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&, t] {
            for (int i = 0; i < 1000; i++) {
                if (i % 10) {
                    std::shared_lock shared(lock);
                    (void)map.count(i);
                } else {
                    std::unique_lock unique(lock);
                    map[i] += t;
                }
            }
        });
    for (auto &thread : threads)
        thread.join();
    std::cout << map.size() << ' ' << std::accumulate(map.begin(), map.end(), 0, [](int sum, auto &entry) { return sum + entry.second; }) << '\n';

    std::vector<std::future<long>> parts;
    for (long i = 0; i < 16; i++)
        parts.push_back(std::async(std::launch::async, [i] {
            long sum = 0;
            for (long k = i * 1000; k < (i + 1) * 1000; k++)
                sum += k * k;
            return sum;
        }));
    long total = 0;
    for (auto &part : parts)
        total += part.get();
    std::cout << total << '\n';

    std::mutex mutex;
    std::condition_variable changed;
    bool ready = false;
    std::thread waiter([&] {
        std::unique_lock held(mutex);
        changed.wait(held, [&] { return ready; });
    });
    {
        std::lock_guard held(mutex);
        ready = true;
    }
    changed.notify_all();
    waiter.join();
    std::unique_lock held(mutex);
    std::cout << (changed.wait_for(held, std::chrono::milliseconds(5), [] { return false; }) ? "woken" : "timed out") << '\n';
    std::promise<std::string> promise;
    auto kept = promise.get_future();
    std::thread([&] { promise.set_value("promised"); }).detach();
    std::cout << kept.get() << '\n';
    std::atomic<std::shared_ptr<int>> pointer(std::make_shared<int>(5));
    std::cout << *pointer.load() << '\n';

    namespace fs = std::filesystem;
    fs::path dir = fs::temp_directory_path() / ("standard-" + std::to_string(getpid()));
    fs::create_directories(dir / "a/b");
    std::ofstream(dir / "a/b/file") << "one two\nthree 4.5\n";
    fs::copy(dir / "a/b/file", dir / "copy");
    std::vector<std::string> names;
    for (auto &entry : fs::recursive_directory_iterator(dir))
        names.push_back(entry.path().lexically_relative(dir).string() + (entry.is_directory() ? "/" : ""));
    std::sort(names.begin(), names.end());
    for (auto &name : names)
        std::cout << name << '\n';
    std::ifstream in(dir / "copy");
    std::string first, second, third;
    double number;
    in >> first >> second >> third >> number;
    std::cout << second << ' ' << number << ' ' << fs::file_size(dir / "copy") << ' ' << fs::remove_all(dir) << '\n';
    try {
        std::cout << fs::file_size("/nowhere");
    } catch (const fs::filesystem_error &error) {
        std::cout << error.what() << '\n';
    }
    std::smatch match;
    std::string text = "key = value; other=thing";
    std::regex pattern(R"((\w+)\s*=\s*(\w+))");
    for (auto at = text.cbegin(); std::regex_search(at, text.cend(), match, pattern); at = match.suffix().first)
        std::cout << match[1] << "->" << match[2] << '\n';
    std::ostringstream out;
    out << std::setw(8) << std::setfill('*') << std::hex << 48879 << std::setprecision(3) << std::fixed << ' ' << 3.14159;
    std::cout << out.str() << std::endl;
    std::cerr << "to standard error\n";
    return 0;
}
