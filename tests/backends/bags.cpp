// A backend in C++: float32, int64, sum, mean and max, and their gradients. It reads the cases that
// `python -m embag_edu check --export` writes, answers those that it knows, and says so of the others.
//
//     bags cases answers
#include <filesystem>
#include <functional>
#include <stdexcept>

#include "npz.hpp"  // in book/pages/cases.md

using Case = std::map<std::string, Array>;
using Floats = std::vector<float>;
namespace fs = std::filesystem;

template <class T>
std::vector<T> numbers(const Array& array) {
    std::vector<T> found(array.bytes.size() / sizeof(T));
    std::memcpy(found.data(), array.bytes.data(), array.bytes.size());
    return found;
}

Array as_array(const Floats& values, std::vector<long long> shape) {
    return {"<f4", shape, std::string(reinterpret_cast<const char*>(values.data()), values.size() * 4)};
}

bool is_known(const Case& call) {
    static const std::map<std::string, std::string> known = {
        {"input", "<i8"}, {"offsets", "<i8"}, {"weight", "<f4"}, {"per_sample_weights", "<f4"},
        {"grad_output", "<f4"}, {"include_last_offset", "|b1"}, {"mode", "|S"}};
    for (const auto& [name, array] : call) {
        if (name.rfind("expected.", 0) == 0 || name.rfind("tolerance.", 0) == 0) continue;
        const auto found = known.find(name);
        if (found == known.end() || array.dtype.rfind(found->second, 0) != 0) return false;
    }
    return call.at("weight").shape.size() == 2;
}

using Write = std::function<void(const std::string&, const Array&)>;

void answer(const Case& call, const Write& write) {
    const Array &in = call.at("input"), &table = call.at("weight");
    const long long N = in.bytes.size() / 8, V = table.shape[0], D = table.shape[1];
    const std::string mode = call.count("mode") ? call.at("mode").bytes : "mean";
    const auto input = numbers<int64_t>(in);
    const auto weight = numbers<float>(table);
    const bool weighted = call.count("per_sample_weights");
    const Floats psw = weighted ? numbers<float>(call.at("per_sample_weights")) : Floats(N, 1.0f);

    std::vector<int64_t> ends;  // of the bags
    if (in.shape.size() != 1 && in.shape.size() != 2)
        throw std::invalid_argument("input has to be 1-D or 2-D");
    if (in.shape.size() == 2) {
        if (call.count("offsets")) throw std::invalid_argument("a 2-D input takes no offsets");
        if (in.shape[0] && !in.shape[1]) throw std::invalid_argument("bags of nothing");
        for (long long b = 0; b <= in.shape[0]; ++b) ends.push_back(b * in.shape[1]);
    } else {
        if (!call.count("offsets") || call.at("offsets").shape.size() != 1)
            throw std::invalid_argument("a 1-D input needs 1-D offsets");
        ends = numbers<int64_t>(call.at("offsets"));
        if (!call.count("include_last_offset")) ends.push_back(N);
    }
    if (mode != "sum" && mode != "mean" && mode != "max") throw std::invalid_argument("no such mode");
    if (weighted && mode != "sum") throw std::invalid_argument("weights go with mode sum");
    if (weighted && call.at("per_sample_weights").shape != in.shape)
        throw std::invalid_argument("per_sample_weights must have the input's shape");
    if (ends.empty() || ends[0] != 0 || ends.back() != N) throw std::invalid_argument("offsets");
    for (size_t b = 1; b < ends.size(); ++b)
        if (ends[b] < ends[b - 1]) throw std::invalid_argument("offsets must not decrease");
    for (int64_t row : input)
        if (row < 0 || row >= V) throw std::out_of_range("index " + std::to_string(row));

    const long long B = ends.size() - 1;
    Floats output(B * D), grad_weight(V * D), grad_psw(N);
    std::vector<int64_t> winner(B * D, -1);
    const Floats upstream = call.count("grad_output") ? numbers<float>(call.at("grad_output")) : Floats();
    for (long long b = 0; b < B; ++b) {
        const float share = mode == "mean" ? 1.0f / (ends[b + 1] - ends[b]) : 1.0f;
        for (long long p = ends[b]; p < ends[b + 1]; ++p)
            for (long long d = 0; d < D; ++d) {
                const float value = weight[input[p] * D + d];
                float& sum = output[b * D + d];
                if (mode != "max") {
                    sum += value * psw[p] * share;
                } else if (p == ends[b] || value > sum) {
                    sum = value, winner[b * D + d] = input[p];
                }
                if (upstream.empty() || mode == "max") continue;
                grad_weight[input[p] * D + d] += upstream[b * D + d] * psw[p] * share;
                grad_psw[p] += upstream[b * D + d] * value;
            }
        for (long long d = 0; d < D && mode == "max" && !upstream.empty(); ++d)
            if (winner[b * D + d] >= 0)
                grad_weight[winner[b * D + d] * D + d] += upstream[b * D + d];
    }
    write("output", as_array(output, {B, D}));
    if (!call.count("grad_output")) return;
    write("grad_weight", as_array(grad_weight, {V, D}));
    if (weighted) write("grad_per_sample_weights", as_array(grad_psw, in.shape));
}

int main(int, char** words) {
    const fs::path cases(words[1]), answers(words[2]);
    fs::create_directories(answers);
    fs::copy_file(cases / "index.json", answers / "index.json", fs::copy_options::overwrite_existing);
    for (const auto& [name, call] : read_npz((cases / "cases.npz").string())) {
        const fs::path folder = answers / name;
        fs::create_directories(folder);
        if (!is_known(call)) {
            std::ofstream(folder / "refused.txt") << "NotSupported: an option or a dtype";
            continue;
        }
        try {
            answer(call, [&](const std::string& file, const Array& array) {
                write_npy((folder / (file + ".npy")).string(), array);
            });
        } catch (const std::out_of_range& error) {
            std::ofstream(folder / "refused.txt") << "RuntimeError: " << error.what();
        } catch (const std::invalid_argument& error) {
            std::ofstream(folder / "refused.txt") << "ValueError: " << error.what();
        }
    }
}
