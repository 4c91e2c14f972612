extern "C" int consume();

int main() { return consume(); }
